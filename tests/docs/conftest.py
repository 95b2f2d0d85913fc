"""Makes `documents` of this folder importable, and `fake_model` of the one above."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
