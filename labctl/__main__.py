"""`python -m labctl`."""

import sys

from labctl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
