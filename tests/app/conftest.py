"""Lets tests here import `app_server`, and `fake_model`, the small network beside this folder."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
