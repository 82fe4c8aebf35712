"""What A1111's clients send: the fields that have a meaning here. Others are ignored."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Generation(_Sent):
    """Pictures to make. None, which many clients send, is the same as leaving it out."""

    prompt: str | None = None
    negative_prompt: str | None = None
    styles: list[str] | None = Field(None, description="One of /prompt-styles.")
    seed: int | None = Field(-1, description="-1 is any.")
    subseed_strength: float | None = None
    sampler_name: str | None = None
    sampler_index: str | None = Field(None, description="The sampler's name, from older clients.")
    scheduler: str | None = None
    batch_size: int | None = Field(1, ge=1)
    n_iter: int | None = Field(1, ge=1)
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = Field(None, ge=1, description="Any: the model draws its own size.")
    height: int | None = Field(None, ge=1)
    denoising_strength: float | None = None
    enable_hr: bool | None = False
    restore_faces: bool | None = False
    tiling: bool | None = False
    override_settings: dict[str, Any] | None = None
    script_name: str | None = None
    alwayson_scripts: dict[str, Any] | None = None
    send_images: bool | None = True


class TextToImage(Generation):
    """Pictures from words."""


class ImageToImage(Generation):
    """Pictures from a picture, all of it or what is white in a mask; both in base64."""

    init_images: list[str] | None = None
    mask: str | None = None
    inpainting_mask_invert: bool | None = Field(False, description="What is black is drawn anew.")
    denoising_strength: float | None = 0.75
    include_init_images: bool | None = False


class Upscaling(_Sent):
    """How to enlarge: by a factor (`resize_mode` 0), or to a size (1), cut to fit or not."""

    resize_mode: int = Field(0, ge=0, le=1)
    upscaling_resize: float = Field(2, gt=0, le=32, allow_inf_nan=False)
    upscaling_resize_w: int = Field(512, ge=1, le=4096)
    upscaling_resize_h: int = Field(512, ge=1, le=4096)
    upscaling_crop: bool = True
    upscaler_1: str = "None"


class OneImage(Upscaling):
    """A picture to enlarge, in base64."""

    image: str = ""


class NamedImage(_Sent):
    """A picture in base64."""

    data: str
    name: str = ""


class ManyImages(Upscaling):
    """Pictures to enlarge."""

    imageList: list[NamedImage] = Field(max_length=64)


class PictureFile(_Sent):
    """A picture in base64."""

    image: str = ""
