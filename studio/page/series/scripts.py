"""The scripts of HTML that shows series."""

from pathlib import Path

# It follows the queue and the gallery, and comes into view once what was asked for is there.
SHOW_JS = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("follow.js", "reveal.js"))
