"""The page's named endpoints, called by Gradio's own client."""

import time
from pathlib import Path
from typing import Any

import pytest
from page_kit import get

from studio.studio import Studio


@pytest.fixture(scope="module")
def client(url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gradio_client import Client

    return Client(url, verbose=False, analytics_enabled=False, download_files=tmp_path_factory.mktemp("client"))


def test_they_are_named_and_described(client: Any) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/submit", "/status", "/cancel", "/generate"}
    assert all(named[name]["description"] for name in named) and "prompt" in str(named["/generate"]["parameters"])


def test_pictures_are_made_and_fetched(client: Any, url: str, home: Path) -> None:
    rows = client.predict("a face by name", count=2, seed=7, api_name="/generate")
    assert [row["seed"] for row in rows] == [7, 8]
    files = {kept.path.read_bytes() for kept in Studio(home).gallery.page()}
    assert all(get(url + row["url"])[1] in files for row in rows)


def test_a_job_is_watched_and_stopped(client: Any) -> None:
    job = client.predict("a face to stop", count=8, steps=100, api_name="/submit")
    client.predict(job, api_name="/cancel")
    while (status := client.predict(job, api_name="/status"))["state"] in ("waiting", "running"):
        time.sleep(0.05)
    assert status["state"] == "cancelled" and len(status["pictures"]) < 8
    several = {"prompt": "a {red|blue} hat", "count": 2}
    for bad, why in (
        (several, "ask for them one by one"),
        ({"prompt": ""}, "empty"),
        ({"prompt": "a", "style": "nonsense"}, "unknown style"),
        ({"prompt": "a", "seed": -2}, "seed must be"),
    ):
        with pytest.raises(Exception, match=why):
            client.predict(**bad, api_name="/submit")
    with pytest.raises(Exception, match="there is no job"):
        client.predict("nobody", api_name="/status")
