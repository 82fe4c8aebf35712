"""Files that say where they come from, to us and to the programs that read A1111's text.

`files` writes, reads and strips metadata (`containers` knows the formats), `origin` is our record and A1111's text,
`restore` makes a request of it again.
"""
