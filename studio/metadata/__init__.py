"""Files that say where they come from, to us and to the programs that read A1111's text.

`files` writes, reads and strips (`containers` and `avif` know the formats, `exif_xmp` two blocks that many have),
`origin` is our record, `readers` understands what other programs wrote, `restore` turns it into a request again.
"""

from studio.metadata.files import (
    content,
    credits_in,
    credits_of_record,
    encoded,
    provenance_in,
    read,
    read_bytes,
    strip,
    stripped,
    texts,
    write,
)
from studio.metadata.origin import Provenance, provenance, version
from studio.metadata.restore import restore

__all__ = [
    "Provenance",
    "content",
    "credits_in",
    "credits_of_record",
    "encoded",
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
