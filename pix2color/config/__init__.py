"""The configuration: a frozen typed tree, read from YAML, changed by dotted overrides.

Defaults live in `sections`; a recipe in `configs/` holds only what differs. Order of precedence:
defaults < `extends` < recipe < `--set a.b=value`.
This package imports no torch, so that `--help` and errors about a config are instant.
"""

from pix2color.config.base import ConfigModel
from pix2color.config.loading import (
    deep_merge,
    find_recipe,
    format_validation_error,
    from_dict,
    load,
    read_yaml,
    set_dotted_key,
)
from pix2color.config.model import (
    ConvEncoderConfig,
    DDColorConfig,
    FusionConfig,
    HeadConfig,
    HypercolumnConfig,
    ModelConfig,
    ShortcutConfig,
    UpsampleConfig,
)
from pix2color.config.schema import (
    AugmentConfig,
    BudgetConfig,
    Config,
    DataConfig,
    DecodeConfig,
    GanConfig,
    LossConfig,
    OptimConfig,
    SplitConfig,
    TeacherConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "BudgetConfig",
    "Config",
    "ConfigModel",
    "ConvEncoderConfig",
    "DDColorConfig",
    "DataConfig",
    "DecodeConfig",
    "FusionConfig",
    "GanConfig",
    "HeadConfig",
    "HypercolumnConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "ShortcutConfig",
    "SplitConfig",
    "TeacherConfig",
    "TrainConfig",
    "UpsampleConfig",
    "deep_merge",
    "find_recipe",
    "format_validation_error",
    "from_dict",
    "load",
    "read_yaml",
    "set_dotted_key",
]
