"""python -m pix2color COMMAND"""

import sys

from pix2color.cli import main

if __name__ == "__main__":
    sys.exit(main())
