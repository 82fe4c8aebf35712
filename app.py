"""Studio 128 in the browser: python app.py [--host --port --home --model --no-browser --allow-network]."""

import sys

from studio.page.serve import open_page, parse

if __name__ == "__main__":  # the worker's process imports this file too
    sys.exit(open_page(parse()))
