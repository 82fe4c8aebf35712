"""Files that say where they come from, to us and to the programs that read A1111's text.

`files` writes, reads and strips (`containers` and `avif` know the formats, `exif_xmp` two blocks that many have),
`origin` is our record, `readers` understands what other programs wrote, `restore` turns it into a request again.
"""

from studio.metadata.files import (
    CONTAINERS,
    KINDS,
    content,
    encoded,
    media_type,
    provenance_in,
    read,
    read_bytes,
    strip,
    stripped,
    texts,
    write,
)
from studio.metadata.origin import Origin, Provenance, provenance, version
from studio.metadata.readers import parse_parameters
from studio.metadata.restore import Restored, restore

__all__ = [
    "CONTAINERS",
    "KINDS",
    "Origin",
    "Provenance",
    "Restored",
    "content",
    "encoded",
    "media_type",
    "parse_parameters",
    "provenance",
    "provenance_in",
    "read",
    "read_bytes",
    "restore",
    "strip",
    "stripped",
    "texts",
    "version",
    "write",
]
