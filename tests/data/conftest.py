"""Lets tests here import `shard_files`, the makers of files beside this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
