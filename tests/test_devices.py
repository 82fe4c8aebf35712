"""Devices: those that are there, and those that are not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Output

from models.messages import Refused
from studio.disk import memory as machine
from studio.page import serve


@pytest.mark.parametrize(("named", "missing"), [("cud:0", "cud:0"), ("meta", "meta")])
def test_a_device_that_is_not_there_is_refused_before_the_page_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], named: str, missing: str
) -> None:
    monkeypatch.setenv("STUDIO_DEVICE", named)
    monkeypatch.setattr(serve, "http_server", lambda *_: pytest.fail("it opens"))
    with pytest.raises(Refused, match=f"there is no device '{missing}' here; there are cpu"):
        serve.open_page(tmp_path / "a home", "fake", "127.0.0.1", 0, None, False, False)
    assert not (tmp_path / "a home").exists() and capfd.readouterr().out == ""


@pytest.mark.parametrize("command", [("generate", "a cat"), ("batch", "none.txt"), ("search", "a cat"), ("embed",)])
def test_a_device_that_is_not_there_is_refused_before_a_command_begins(
    studio: Callable[..., Output], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("STUDIO_DEVICE", "")  # and so afterwards
    said = studio(*command, "--device", "cud:0")
    assert (said.code, said.out) == (2, "") and "there is no device 'cud:0' here" in said.err


def test_cards_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.delenv("STUDIO_DEVICE")
    program.write_text("#!/bin/sh\necho '80000, 500'\necho '40000, 900'\n")
    program.chmod(0o755)
    monkeypatch.setattr(machine, "_which", lambda name: str(program))
    found = machine.machine
    assert [card.free >> 20 for card in (found(), found("cuda:0"), found("cuda:1"))] == [900, 500, 900]
    assert found("cpu").device == "cpu"
    for said in ("No devices were found", "1, 2, 3", "1"):
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        assert machine.cards() == [] and found().device == "cpu"
