"""The recipes that train the default weights further."""

from __future__ import annotations

import pytest

from pix2color.build import matches_default_checkpoint
from pix2color.checkpoints import checkpoint
from pix2color.config import ModelConfig, load


@pytest.mark.parametrize("name", ["packaged", "distill"])
def test_it_trains_the_network_of_the_default_weights(name: str) -> None:
    recipe = load(name)
    assert recipe.init_from == "default"
    assert matches_default_checkpoint(recipe.model)
    # Where an encoder's first weights come from is no part of the network.
    shipped = ModelConfig.model_validate(checkpoint.load().meta["model"]).model_dump()
    trained = recipe.model.model_dump()
    assert shipped | {"pretrained": ""} == trained | {"pretrained": ""}
