"""`python -m studio`, the same as `studio`."""

from studio.cli import main

main()
