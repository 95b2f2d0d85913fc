"""Lets tests here import `hub_server` of the folder above and the plain networks of this one."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
