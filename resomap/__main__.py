"""Entry point of `python -m resomap`: the same as the command `resomap`."""

import sys

from resomap.cli import main

if __name__ == "__main__":
    sys.exit(main())
