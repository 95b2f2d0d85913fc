"""Lets tests here import `fake_model` of the folder above and `modules` of this one."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
