"""Lets tests here import `tiff_files`, the maker of TIFFs beside this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
