"""Color photos: `python infer.py photos/`. The work is in pix2color.cli.infer."""

import sys

from pix2color.cli.infer import main

if __name__ == "__main__":
    sys.exit(main())
