"""configs/packaged.yaml: the recipe of the default weights."""

from __future__ import annotations

from pix2color.build import matches_default_checkpoint
from pix2color.checkpoints import checkpoint
from pix2color.config import load


def test_it_trains_the_network_of_the_default_weights() -> None:
    recipe = load("packaged.yaml")
    assert recipe.init_from == "default"
    assert matches_default_checkpoint(recipe.model)
    # Where an encoder's first weights come from is no part of the network.
    shipped, trained = (
        model.model_copy(update={"pretrained": ""})
        for model in (checkpoint.load().model, recipe.model)
    )
    assert shipped == trained
