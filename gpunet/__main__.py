"""`python -m gpunet`."""

import sys

from gpunet.cli import main

if __name__ == "__main__":
    sys.exit(main())
