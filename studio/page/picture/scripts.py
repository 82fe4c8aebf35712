"""The script of HTML with files that are made ready."""

from pathlib import Path

# It fetches what a link with `data-fetch` is to; its words are said meanwhile in the element of class `fetching`.
FETCH_JS = Path(__file__).with_name("fetch.js").read_text(encoding="utf-8")
