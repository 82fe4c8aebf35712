"""Export of a picture or clip, the same for all doors: one file becomes one or several."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from PIL import ImageColor
from pydantic import Field
from pydantic.fields import FieldInfo

from models.messages import Refused, did_you_mean
from models.references.credits import Credit, as_file
from studio.clips import ClipFile, Frame
from studio.export.apps import APPS, App, app_named, clip_rules, enlarged, fit, in_size, in_time, rimmed
from studio.export.clips import FORMATS, Clip, clip_file, clip_in, sheet
from studio.export.drawing import Larger, svg
from studio.export.pack import Sticker, zipped
from studio.metadata.files import KINDS, credits_in, encoded, provenance_in, read
from studio.metadata.origin import Provenance
from studio.requests import PROMPT_LIMIT

SHEET = "sheet"
ALIASES = {"jpg": "jpeg", "apng": "png"}  # of a still picture's formats
WORD = 200  # characters
SIZES, RATES = range(16, 1025), range(1, 51)  # pixels of the longer side, frames a second


@dataclass(frozen=True)
class Wanted:
    """Options of an export; Refused where they contradict each other. They are HTTP's and the tools' parameters."""

    app: Annotated[str, Field(max_length=WORD, description=f"For a chat app: {', '.join(APPS)}.")] = ""
    format: Annotated[
        str,
        Field(max_length=WORD, description="webp, avif, jpeg, png; a clip as webp, apng, gif, webm, mp4, sheet."),
    ] = ""
    svg: Annotated[bool, Field(description="A picture, traced.")] = False
    outline: Annotated[bool, Field(description="With a white rim.")] = False
    size: Annotated[int | None, Field(description="Pixels of the longer side.")] = None
    fps: Annotated[int | None, Field(description="Frames a second; all frames are kept.")] = None
    matte: Annotated[
        str, Field(max_length=WORD, description="The colour behind a GIF's faint edges, else they are dithered.")
    ] = ""
    ground: Annotated[str, Field(max_length=WORD, description="The colour behind an MP4.")] = "white"
    plain: Annotated[bool, Field(description="It says nothing of itself.")] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "format", self.format.strip().lstrip(".").casefold())
        kinds = list(dict.fromkeys([*FORMATS, SHEET, *KINDS]))
        if self.format and self.format not in (*kinds, *ALIASES):
            raise Refused("metadata.unknown_kind", kind=self.format, hint=did_you_mean(self.format, kinds), kinds=kinds)
        for name, value, allowed in (("size", self.size, SIZES), ("fps", self.fps, RATES)):
            if value is not None and value not in allowed:
                raise Refused("export.range", name=name, least=allowed[0], most=allowed[-1], value=value)
        for colour in filter(None, (self.matte, self.ground)):
            try:
                ImageColor.getrgb(colour)
            except ValueError as error:
                raise Refused("export.no_colour", colour=colour) from error
        if not (self.for_app or self.format or self.svg or self.outline or self.size or self.fps):
            raise Refused("export.what")
        if self.for_app and (self.format or self.size):
            raise Refused("export.app_or_format", app=self.for_app.title)

    @property
    def for_app(self) -> App | None:
        """The app, Refused where there is none of that name."""
        return app_named(self.app) if self.app else None

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height in pixels, None for those of the file."""
        side = (self.size, self.size) if self.size else None
        return self.for_app.sizes[0] if self.for_app else side

    def colours(self, kind: str) -> dict[str, Any]:
        """The encoder's argument for the background colour of a clip of that kind."""
        return {"gif": {"matte": self.matte}, "mp4": {"ground": self.ground}}.get(kind, {})


def wanted_fields() -> dict[str, FieldInfo]:
    """The fields of `Wanted` by name, with types, defaults and helps."""
    hints = get_type_hints(Wanted, include_extras=True)
    return {
        field.name: FieldInfo.from_annotated_attribute(hints[field.name], field.default) for field in fields(Wanted)
    }


def exported(file: Path, wanted: Wanted, larger: Larger) -> dict[str, bytes]:
    """The exported files of a picture or clip, by name; Refused where it can't be read or exported so."""
    says = None if wanted.plain else provenance_in(file)
    clip = clip_in(file)
    if clip.moves and wanted.svg:
        raise Refused("export.svg_is_still", file=file.name)
    clip, files = ready(clip, wanted, larger), dict[str, bytes]()
    if wanted.svg:
        files[f"{file.stem}.svg"] = svg(clip.frames[0], says.credits if says else ()).encode()
    if app := wanted.for_app:
        sizes = clip_rules(app).sizes if clip.moves else app.sizes
        for size in sizes:
            data, suffix = fit(clip, app, size, says, wanted.matte)
            files[f"{file.stem}-{app.name}{f'-{size[0]}' if len(sizes) > 1 else ''}{suffix}"] = data
    elif clip.moves or wanted.format or wanted.size or (wanted.outline and not wanted.svg):
        files |= _in_format(file, in_size(clip, wanted.size) if wanted.size else clip, wanted, says)
    if not files:
        raise Refused("export.does_not_play", file=file.name)
    return files


def stills(clip: ClipFile, numbers: Sequence[int], plain: bool = False) -> Iterator[tuple[Frame, bytes]]:
    """The frames of these numbers as PNG files, with the provenance of the clip and the number of the frame."""
    says = None
    if not plain:
        with contextlib.suppress(Refused):  # of some files nothing is read
            says = provenance_in(clip.path)
    for frame in clip.chosen(numbers):
        yield frame, encoded(frame.picture(), says and says.with_how(frame=frame.number), "png")


def bundled(files: Mapping[str, bytes], credits: Sequence[Credit] = ()) -> tuple[str, bytes]:
    """Name and bytes of one file: several files become a ZIP with the first one's name and the credits."""
    name, data = next(iter(files.items()))
    return (name, data) if len(files) == 1 else (f"{Path(name).stem}.zip", zipped({**files, **as_file(credits)}))


def sticker_of(file: Path, wanted: Wanted, larger: Larger, label: str = "") -> Sticker:
    """A file as a sticker, named by its label, else by its prompt, else by its file name. Errors as for `exported`."""
    settings = {} if wanted.plain else read(file)
    request = settings.get("request", {})  # which may hold anything
    prompt, model = (" ".join(str(request.get(name) or "").split())[:PROMPT_LIMIT] for name in ("prompt", "model"))
    facts = {"prompt": prompt, "seed": settings.get("seed"), "model": model} if request else {}
    says, label = None if wanted.plain else provenance_in(file), label or prompt or file.stem
    clip = ready(clip_in(file), wanted, larger)
    return Sticker(clip, label, says, facts, wanted.matte, credits_in(file))


def ready(clip: Clip, wanted: Wanted, larger: Larger) -> Clip:
    """A clip at the wanted speed and size, with a rim if wanted. Refused where the app takes no clips."""
    clip = clip.at(wanted.fps) if wanted.fps else clip
    size = wanted.pixels
    if clip.moves and (app := wanted.for_app):
        rules = clip_rules(app)
        clip, size = in_time(clip, rules), rules.sizes[0]
    clip = enlarged(clip, size, larger)
    return rimmed(clip) if wanted.outline else clip


def _in_format(file: Path, clip: Clip, wanted: Wanted, says: Provenance | None) -> dict[str, bytes]:
    still = ALIASES.get(wanted.format, wanted.format or "png")
    if not clip.moves and still in KINDS:
        return {_name(file, wanted, KINDS[still].suffix): encoded(clip.frames[0], says, still)}
    kind = "apng" if wanted.format == "png" else wanted.format or "webp"
    if kind == SHEET:
        picture, about = sheet(clip, says)
        stem = f"{_stem(file, wanted)}-{SHEET}"
        about["meta"]["image"] = f"{stem}.png"
        return {f"{stem}.png": picture, f"{stem}.json": json.dumps(about, indent=1).encode()}
    if kind not in FORMATS:
        raise Refused("export.does_not_move", kind=kind, kinds=[*FORMATS, SHEET])
    colours = wanted.colours(kind)
    changed = {name: colour for name, colour in colours.items() if colour != getattr(Wanted, name)}
    says = says.with_how(**changed) if says and changed else says
    return {_name(file, wanted, FORMATS[kind].suffix): clip_file(clip, kind, says, **colours)}


def _stem(file: Path, wanted: Wanted) -> str:
    return "-".join(
        [file.stem, *(["outlined"] if wanted.outline else []), *([str(wanted.size)] if wanted.size else [])]
    )


def _name(file: Path, wanted: Wanted, suffix: str) -> str:
    """The name of an exported file, which differs from its source's."""
    name = f"{_stem(file, wanted)}{suffix}"
    return name if name != file.name else f"{file.stem}-{wanted.format or 'copy'}{suffix}"
