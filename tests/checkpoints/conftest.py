"""Lets tests here import `hub_server`, the stand-in of the Hub beside this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
