"""The configuration: a frozen typed tree, read from YAML, changed by dotted overrides.

Defaults live in `sections`; a recipe in `configs/` holds only what differs. Order of precedence:
defaults < `extends` < recipe < `--set a.b=value`.
This package imports no torch, so that `--help` and errors about a config are instant.
"""

from pix2color.config.files import (
    apply,
    explain,
    find,
    from_dict,
    load,
    merge,
    read_yaml,
    table_name,
)
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
    Section,
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
    "Section",
    "Split",
    "Train",
    "Upsample",
    "apply",
    "explain",
    "find",
    "from_dict",
    "load",
    "merge",
    "read_yaml",
    "table_name",
]
