"""Train a recipe: accelerate launch train.py --config gan.yaml"""

import sys

from pix2color.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
