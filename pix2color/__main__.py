"""python -m pix2color COMMAND"""

from __future__ import annotations

import sys

from pix2color.cli import main

if __name__ == "__main__":
    sys.exit(main())
