"""Files that pose as pictures, and addresses and paths: refused at every door, and nothing is fetched or opened."""

import base64
import itertools
import zlib
from typing import Any

import pytest
from hostile_kit import NOBODY, nothing_happened, send
from page_kit import Server
from picture_kit import as_file, coded
from PIL import Image
from tiny_files import bomb

from studio.metadata.containers import png_chunk


def text_bomb() -> bytes:
    whole = as_file(Image.new("RGBA", (8, 8)))
    return whole[:33] + png_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(100 * 2**20), 9)) + whole[33:]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
POSING = {
    "svg": (SVG, "is not a picture"),
    "html": (b"<!doctype html><script>alert(1)</script>", "is not a picture"),
    "text": (b"hello", "is not a picture"),
    "zeros": (bytes(1000), "is not a picture"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "is not a picture"),
    "tiff": (as_file(Image.new("RGB", (8, 8)), "TIFF"), "is not a picture"),
    "bomb": (bomb(30_000), "pixels"),
    "bomb that Pillow refuses": (bomb(2**31 - 1), ""),
    "half": (as_file(Image.effect_noise((128, 128), 100))[:500], "damaged or cut short"),
}
MOVING = as_file(
    Image.new("L", (4, 4)), "GIF", save_all=True, append_images=[Image.new("L", (4, 4), n) for n in (90, 200)] * 200
)
FRAMES = {"frames": (MOVING, "more than 300 frames"), "text bomb": (text_bomb(), "too large")}


def bodies(sent: str) -> dict[str, dict[str, Any]]:
    """The fields of all doors that take a picture."""
    fine = coded(Image.new("RGB", (16, 16)))
    return {
        "/sdapi/v1/img2img": {"prompt": "a", "init_images": [sent]},
        "/sdapi/v1/img2img ": {"prompt": "a", "init_images": [fine], "mask": sent},
        "/sdapi/v1/png-info": {"image": sent},
        "/sdapi/v1/interrogate": {"image": sent},
        "/sdapi/v1/extra-single-image": {"image": sent},
        "/sdapi/v1/extra-single-image ": {"image": sent, "upscaler_1": "Studio 128"},
        "/api/v1/jobs": {"prompt": "a", "like": {"data": sent}},
        "/api/v1/jobs ": {"image": {"data": sent}},
        "/api/v1/jobs  ": {"prompt": "a", "mix": [{"picture": {"data": sent}}]},
    }


PICTURED = list(bodies(""))


def test_what_poses_as_a_picture(doors: Server, subtests: pytest.Subtests) -> None:
    for path, name in itertools.product(PICTURED, POSING):
        if "png-info" not in path:
            with subtests.test(path=path, name=name):
                data, words = POSING[name]
                answer = send(doors, "POST", path.strip(), bodies(base64.b64encode(data).decode())[path])
                assert answer.status == 422 and words in answer.sentence, answer.body[:500]
                assert str(doors.home) not in answer.sentence and len(answer.sentence) < 300
    nothing_happened(doors)


def test_pictures_that_are_too_much(doors: Server, subtests: pytest.Subtests) -> None:
    for name, (data, words) in FRAMES.items():
        with subtests.test(name=name):
            answer = send(doors, "POST", "/api/v1/jobs", {"image": {"data": base64.b64encode(data).decode()}})
            assert answer.status == 422 and words in answer.sentence
    nothing_happened(doors)


@pytest.mark.parametrize(
    ("path", "side", "words"),
    [("/api/v1/jobs", 8, "pixels"), ("/api/v1/jobs", 16, "black"), ("/sdapi/v1/img2img", 9, "black")],
)
def test_no_sentence_tells_where_files_lie(doors: Server, path: str, side: int, words: str) -> None:
    image, mask = (coded(Image.new("L", (n, n))) for n in (16, side))
    fields = {"image": {"data": image}, "mask": {"data": mask}} if "api/v1/jobs" in path else {}
    answer = send(doors, "POST", path, fields or {"prompt": "a", "init_images": [image], "mask": mask})
    assert answer.status == 422 and answer.sentence.startswith("mask ") and words in answer.sentence
    assert str(doors.home) not in answer.sentence
    nothing_happened(doors)


def test_a_picture_that_is_too_large(doors: Server) -> None:
    coded = "A" * (46 * 2**20)
    for path in ("/sdapi/v1/png-info", "/sdapi/v1/img2img", "/api/v1/jobs"):
        answer = send(doors, "POST", path, bodies(coded)[path])
        assert answer.status == 413 and "larger than 32 MB" in answer.sentence


def test_no_address_is_fetched_and_no_path_opened(
    doors: Server, trap: tuple[str, list[Any]], subtests: pytest.Subtests
) -> None:
    picture = doors.home / "secret.png"
    picture.write_bytes(as_file(Image.new("RGB", (16, 16))))
    places = [f"http://{trap[0]}/x.png", f"https://{trap[0]}/x.png", f"HTTP://{trap[0]}", f"//{trap[0]}/x.png"]
    places += ["file:///etc/passwd", "/etc/passwd", "/etc/passwd1", str(picture), f"file://{picture}", "../secret.png"]
    places += ["data:text/html,<script>", "data:image/png;base64,", "", "C:\\x.png", "\\\\host\\x.png", "clipboard:"]
    for path, place in itertools.product(PICTURED, places):
        if not place and "mask" in bodies(place)[path]:
            continue  # as if there were none
        with subtests.test(path=path, place=place):
            answer = send(doors, "POST", path.strip(), bodies(place)[path])
            assert answer.status in (404, 422) and answer.sentence and b"root:" not in answer.body, answer.body[:300]
    assert trap[1] == []


PATHS: list[Any] = [
    {"path": "/etc/passwd"},
    {"path": "/etc/passwd", "sha256": NOBODY},
    {"url": "http://127.0.0.1/"},
    {"sha256": "../../etc/passwd"},
    {"sha256": NOBODY + "/../x"},
    {"sha256": NOBODY, "data": "AAAA"},
    "http://127.0.0.1/x.png",
    "/etc/passwd",
    ["/etc/passwd"],
]


def test_a_picture_is_never_a_path(doors: Server, subtests: pytest.Subtests) -> None:
    for field, given in itertools.product(("like", "image", "mask"), PATHS):
        with subtests.test(field=field, given=given):
            answer = send(doors, "POST", "/api/v1/jobs", {"prompt": "a", field: given})
            assert answer.status == 422 and answer.sentence
    nothing_happened(doors)
