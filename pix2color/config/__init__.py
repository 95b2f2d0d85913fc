"""The configuration: a frozen typed tree, read from YAML, changed by dotted overrides.

Defaults live in `sections`; a recipe in `configs/` holds only what differs. Order of precedence:
defaults < `extends` < recipe < `--set a.b=value`.
This package imports no torch, so that `--help` and errors about a config are instant.
"""

from pix2color.config.files import find, from_dict, load
from pix2color.config.sections import (
    Augment,
    Budget,
    Config,
    Data,
    Decode,
    Fusion,
    Gan,
    Head,
    Hypercolumn,
    Loss,
    Model,
    Optim,
    Plain,
    Split,
    Train,
    Upsample,
)

__all__ = [
    "Augment",
    "Budget",
    "Config",
    "Data",
    "Decode",
    "Fusion",
    "Gan",
    "Head",
    "Hypercolumn",
    "Loss",
    "Model",
    "Optim",
    "Plain",
    "Split",
    "Train",
    "Upsample",
    "find",
    "from_dict",
    "load",
]
