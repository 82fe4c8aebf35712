"""`python -m studio.page`: what `python app.py` does, for an installed package."""

import sys

from studio.page.serve import open_page, parse

if __name__ == "__main__":
    sys.exit(open_page(parse()))
