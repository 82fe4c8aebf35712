"""Studio 128 in the browser: python app.py [--host --port --home --model --no-browser --allow-network]."""

import sys

if __name__ == "__main__":  # the worker's process imports this file too
    try:
        from studio.page.serve import open_page, parse

        sys.exit(open_page(parse()))
    except KeyboardInterrupt:  # Ctrl-C during the imports
        sys.exit(130)
