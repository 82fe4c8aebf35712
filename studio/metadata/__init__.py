"""Files that say where they come from, to us and to the programs that read A1111's text.

`files` writes, reads and strips (`containers`, `boxes` and `webm` know the formats, `exif_xmp` two blocks of many),
`origin` is our record, `readers` understands what other programs wrote, `restore` turns it into a request again.
"""
