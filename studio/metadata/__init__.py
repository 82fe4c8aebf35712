"""Files that say where they come from, to us and to the programs that read A1111's text.

`write` puts it in, `files` gets it out (a file a format: png, webp, jpeg, gif, avif), `readers` understands what other
programs wrote, and `restore` turns it into a request again.
"""

from studio.metadata.files import content, read, said_in, stripped, texts
from studio.metadata.origin import Origin, origin, parameters, version
from studio.metadata.readers import parse_parameters
from studio.metadata.restore import Restored, restore
from studio.metadata.write import KINDS, Said, encoded, file_bytes, kind_of, png_bytes, said, with_origin

__all__ = [
    "KINDS",
    "Origin",
    "Restored",
    "Said",
    "content",
    "encoded",
    "file_bytes",
    "kind_of",
    "origin",
    "parameters",
    "parse_parameters",
    "png_bytes",
    "read",
    "restore",
    "said",
    "said_in",
    "stripped",
    "texts",
    "version",
    "with_origin",
]
