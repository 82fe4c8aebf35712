"""What models lie on this disk, and whether they fit this machine; read from headers, without torch."""
