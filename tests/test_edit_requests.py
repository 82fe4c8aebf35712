"""Pictures from a picture: what is refused, what is fixed, and what comes out of the backends and the command."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Output
from PIL import Image
from queue_kit import picture

from models.compose.masks import expanded
from models.data.pixels import fit, load_picture, png
from models.messages import Refused
from studio.backends.base import Backend, run, run_batch
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.media import Artifact
from studio.metadata.files import read
from studio.planner import resolve
from studio.requests import ImageRequest, make_request

CAN = Fake().capabilities()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A picture of 200 x 200, masks for it, and masks that won't do."""
    results = {}
    grey = np.zeros((200, 200), np.uint8)
    for name, value in (("black", grey), ("white", grey + 255), ("right", grey.copy()), ("small", grey[:100] + 255)):
        if name == "right":
            value[:, 100:] = 255
        Image.fromarray(value).save(tmp_path / f"{name}.png")
        results[name] = str(tmp_path / f"{name}.png")
    ellipse = Image.radial_gradient("L").resize((200, 200))
    picture = Image.merge("RGBA", (ellipse, ellipse.rotate(90), ellipse, ellipse.point(lambda v: 255 - v)))
    picture.save(tmp_path / "picture.png")
    frames = [Image.new("RGB", (200, 200), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    return results | {name: str(tmp_path / name) for name in ("picture.png", "moving.gif")}


def ask(**fields: object) -> ImageRequest:
    for name in ("image", "mask", "like"):
        if isinstance(fields.get(name), str):
            fields[name] = {"path": fields[name]}
    return resolve(make_request("image", **{"seed": 1, "steps": 2, **fields}), CAN)


# --- What is asked ----------------------------------------------------------------------------------------------------


def test_what_is_left_open_is_fixed(files: dict[str, str]) -> None:
    image = files["picture.png"]
    assert ask(image=image).strength == CAN.strength.usual and ask(prompt="a cat").strength is None
    masked = ask(image=image, mask=files["right"])
    assert masked.strength == 1 and len(masked.mask.sha256) == len(masked.image.sha256) == 64
    assert ask(image=image, expand=0.25).strength == 1
    white = ask(image=image, mask=files["white"])
    assert white == ask(image=image), "a mask that is white all over keeps nothing: plain image to image"
    for request in (masked, ask(image=image, expand=0.5), ask(image=image, variations=3)):
        assert resolve(request, CAN) == request
        assert ImageRequest.model_validate_json(request.model_dump_json()) == request


def test_variations_are_so_many_likenesses_near_the_picture(files: dict[str, str]) -> None:
    image = files["picture.png"]
    request = ask(image=image, variations=4)
    assert request == ask(image=image, like=image, count=4, strength=CAN.variation)
    assert ask(image=image, variations=4, strength=0.3, prompt="a cat").strength == 0.3
    mixed = ask(image=image, variations=2, mix=[{"text": "dog"}])
    assert mixed.like is None, "a mix says of what sense they are to be"


def test_edits_keep_to_their_own_company(files: dict[str, str]) -> None:
    image = files["picture.png"]
    kinds = [{}, {"image": image}, {"image": image, "strength": 0.4}, {"image": image, "mask": files["right"]}]
    assert len({ask(prompt="a cat", **fields).batch_key() for fields in kinds}) == 4
    assert ask(image=image, expand=0.3).batch_key() == ask(image=files["white"], mask=files["right"]).batch_key()


def test_a_model_that_can_not_edit_says_so(files: dict[str, str]) -> None:
    with pytest.raises(Refused, match="can't start from a picture; leave --image out"):
        resolve(make_request("image", image={"path": files["picture.png"]}), CAN.model_copy(update={"edits": False}))


# --- What comes out ---------------------------------------------------------------------------------------------------


def drawn(backend: Backend, request: ImageRequest) -> list[np.ndarray]:
    return [np.asarray(picture(event)) for event in run(backend, request) if isinstance(event, Artifact)]


def original(path: str) -> np.ndarray:
    return np.asarray(png(load_picture(path)))


def test_less_strength_stays_nearer(backend: Backend, files: dict[str, str]) -> None:
    image, far = files["picture.png"], []
    for strength in (0.25, 1.0):
        (results,) = drawn(backend, ask(prompt="a cat", image=image, strength=strength, steps=4))
        far.append(results.astype(int))
    plain = drawn(backend, ask(prompt="a cat", steps=4))[0].astype(int)
    assert np.abs(far[0] - plain).mean() > np.abs(far[1] - plain).mean(), "strength 1 forgets the picture"


def test_what_is_black_in_the_mask_is_the_pictures_own(backend: Backend, files: dict[str, str]) -> None:
    one, two = drawn(backend, ask(prompt="a cat", image=files["picture.png"], mask=files["right"], count=2, shape=8))
    items = original(files["picture.png"])
    assert np.array_equal(one[:, :64], items[:, :64]) and np.array_equal(two[:, :64], items[:, :64])
    assert not np.array_equal(one[:, 70:], two[:, 70:]) and not np.array_equal(one[:, 70:], items[:, 70:])


def test_a_larger_canvas_keeps_the_picture_and_draws_round_it(backend: Backend, files: dict[str, str]) -> None:
    (results,) = drawn(backend, ask(prompt="a cat", image=files["picture.png"], expand=0.25))
    pixels, mask = expanded(Image.open(files["picture.png"]), 0.25)
    assert np.array_equal(results[mask == 0], np.asarray(png(pixels))[mask == 0])
    assert results[mask == 255].any(), "there is something in the border"


def test_variations_need_no_words_and_differ(backend: Backend, files: dict[str, str]) -> None:
    results = drawn(backend, ask(image=files["picture.png"], variations=3))
    assert len({picture.tobytes() for picture in results}) == 3


def test_together_is_apart_with_pictures_too(backend: Backend, files: dict[str, str]) -> None:
    masked = [
        ask(prompt="a cat", image=files["picture.png"], mask=files["right"], shape=8, count=3),
        ask(image=files["white"], mask=files["right"], shape=8, seed=9),
        ask(prompt="a dog", image=files["picture.png"], expand=0.25, shape=8, count=6),
    ]
    apart = [picture for request in masked for picture in drawn(backend, request)]
    events = list(run_batch(backend, masked))
    together = [np.asarray(picture(event)) for _, event in events if isinstance(event, Artifact)]
    assert len(apart) == len(together) == 10
    assert all(np.array_equal(one, two) for one, two in zip(apart, together, strict=True))


def test_without_words_it_is_of_the_pictures_own_sense(tiny: Embedded, files: dict[str, str]) -> None:
    image = files["picture.png"]
    (usual,) = drawn(tiny, ask(image=image))
    assert np.array_equal(usual, drawn(tiny, ask(image=image, like=image))[0])
    assert not np.array_equal(usual, drawn(tiny, ask(image=image, prompt="a cat"))[0])


def test_what_only_takes_away_takes_it_from_the_words_or_the_picture(tiny: Embedded, files: dict[str, str]) -> None:
    away = {"text": "hat", "weight": -0.5}
    (words,) = drawn(tiny, ask(prompt="a cat", mix=[away]))
    assert np.array_equal(words, drawn(tiny, ask(prompt="a cat", mix=[{"text": "a cat"}, away]))[0])
    image = files["picture.png"]
    (picture,) = drawn(tiny, ask(image=image, mix=[away]))
    assert np.array_equal(picture, drawn(tiny, ask(image=image, mix=[{"picture": {"path": image}}, away]))[0])


@pytest.mark.parametrize("name", ["picture.png", "right"])
def test_a_picture_that_changed_meanwhile_is_refused(tiny: Embedded, files: dict[str, str], name: str) -> None:
    request = ask(image=files["picture.png"], mask=files["right"])
    Image.new("L", (200, 200), 255).save(files[name])
    with pytest.raises(Refused, match="was changed"):
        drawn(tiny, request)


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(studio: Callable[..., Output], tmp_path: Path) -> Callable[..., Output]:
    return lambda *arguments: studio("generate", *arguments, "--model", "fake", "--json", "--out", tmp_path / "out")


def test_the_command_edits(edit: Callable[..., Output], files: dict[str, str]) -> None:
    image = ("--image", files["picture.png"], "--seed", 1)
    request = [
        (*image, "--strength", 0.6),
        ("a cat", *image, "--mask", files["right"]),
        ("a cat", *image, "--expand", 0.25),
        (*image, "--variations", 3),
        ("--like", files["picture.png"], "--without", "hat", "--without", "red", "--seed", 1),
    ]
    rows = []
    for arguments in request:
        code, out, err = edit(*arguments)
        assert code == 0, err
        rows.append(json.loads(out))
    assert [len(row) for row in rows] == [1, 1, 1, 3, 1]
    matches = [read(Path(row[0]["path"]))["request"] for row in rows]
    assert (matches[0]["strength"], matches[0]["image"]["path"]) == (0.6, "picture.png")
    assert (matches[1]["strength"], matches[1]["mask"]["path"]) == (1, "right.png")
    assert [part["weight"] for part in matches[4]["mix"]] == [-0.5, -0.5]
    folder = str(Path(files["picture.png"]).parent).encode()
    for row in rows:
        assert folder not in Path(row[0]["path"]).read_bytes(), "where pictures lie is not told"
    items = np.asarray(Image.open(rows[1][0]["path"]))[:, :64]
    assert np.array_equal(items, original(files["picture.png"])[:, :64])
    with Image.open(rows[0][0]["path"]) as picture:
        assert "Denoising strength: 0.6" in picture.text["parameters"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--image", "picture.png", "--strength", "0"], "a strength of 0 only enlarges the picture; give a size of"),
        (["--image", "picture.png", "--strength", "2"], "strength must be between 0.05 and 1, not 2.0"),
        (["--image", "picture.png", "--strength", "nan"], "strength must be a number, not nan"),
        (["--image", "picture.png", "--expand", "0"], "expand must be between 0.05 and 1, not 0.0"),
        (["--image", "picture.png", "--expand", "inf"], "expand must be a number, not inf"),
        (["--image", "picture.png", "--variations", "0"], "variations must be between 1 and 64, not 0"),
        (["--image", "picture.png", "--variations", "1000000000"], "variations must be between 1 and 64"),
        (["--image", "picture.png", "--variations", "2", "--count", "3"], "leave count out"),
        (
            ["--image", "picture.png", "--variations", "2", "--expand", "0.2"],
            "expand and variations exclude each other",
        ),
        (["--image", "picture.png", "--mask", "right", "--expand", "0.2"], "mask and expand exclude each other"),
        (["--image", "picture.png", "--mask", "small"], "200 x 100 pixels and the picture 200 x 200"),
        (["--image", "picture.png", "--mask", "black"], "is black all over"),
        (["--image", "picture.png", "--mask", "missing.png"], "missing.png does not exist"),
        (["a cat", "--mask", "right"], "mask is about a picture to start from"),
        (["a cat", "--strength", "0.5"], "strength is about a picture to start from"),
        (["a cat", "--variations", "2"], "variations is about a picture to start from"),
        (["--image", "missing.png"], "missing.png does not exist"),
        (["--without", "hat"], "only takes away"),
        (["", "--without", "hat"], "only takes away"),
    ],
)
def test_bad_input_is_one_sentence(
    edit: Callable[..., Output], files: dict[str, str], tmp_path: Path, arguments: list[str], says: str
) -> None:
    known = {**files, "missing.png": str(tmp_path / "missing.png")}
    before = sorted(tmp_path.rglob("*"))
    code, out, err = edit(*[known.get(argument, argument) for argument in arguments])
    assert (code, out) == (2, "") and says in err, err
    assert err.count("\n") == 1 and err.startswith("studio: ") and err.strip()[-1] in ".;)", err
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def test_fit_and_masks_agree_on_a_wide_picture(backend: Backend, tmp_path: Path) -> None:
    wide = Image.effect_noise((300, 120), 90).convert("RGB")
    wide.save(tmp_path / "wide.jpg", quality=95)
    mask = Image.new("RGBA", (300, 120))
    mask.paste((255, 255, 255, 255), (0, 0, 60, 120))
    mask.save(tmp_path / "mask.png")
    (results,) = drawn(backend, ask(prompt="x", image=str(tmp_path / "wide.jpg"), mask=str(tmp_path / "mask.png")))
    items = np.asarray(png(fit(Image.open(tmp_path / "wide.jpg"))))
    assert np.array_equal(results[:, 26:], items[:, 26:]), "60 of 300 pixels are 25.6 of 128"
    assert not np.array_equal(results[:, :20], items[:, :20])
    assert not results[:30].any(), "above a wide picture there is nothing, and nothing is drawn"
