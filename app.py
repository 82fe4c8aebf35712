"""Studio 128 in the browser: `python app.py` is `studio open`; `python app.py --help` lists its options."""

import sys

if __name__ == "__main__":  # the worker's process imports this file too
    try:
        from studio.cli import main

        sys.argv.insert(1, "open")
        main()
    except KeyboardInterrupt:  # Ctrl-C during the imports
        sys.exit(130)
