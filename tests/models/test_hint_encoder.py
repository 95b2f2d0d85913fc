"""Given colors as a further input: at first nothing changes, and nothing given changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pix2color.build import build_generator
from pix2color.color.constants import AB_RANGE
from pix2color.config import ModelConfig
from pix2color.models.generator import Generator
from pix2color.models.hint_encoder import HintEncoder, encode_hints, pool_hints

RED = (60.0, 40.0)


def make(**options: object) -> Generator:
    torch.manual_seed(0)
    values = {
        "encoder": "mobilenet_v2",
        "pretrained": "none",
        "decoder_channels": [16],
        "convs_per_level": [1],
    }
    return build_generator(ModelConfig.model_validate(values | options)).eval()


@pytest.fixture(scope="module")
def fresh() -> Generator:
    return make(hints=True)


@pytest.fixture(scope="module")
def trained() -> Generator:
    """As after training: the input's weights are not 0."""
    generator = make(hints=True)
    assert generator.hint_input is not None
    for parameter in generator.hint_input.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return generator


def photo(height: int, width: int) -> Tensor:
    return 100 * torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))


def red_at(rows: int, columns: int, *places: tuple[int, int]) -> Tensor:
    given = torch.zeros(1, 1, rows, columns)
    for y, x in places:
        given[0, 0, y, x] = 1
    return encode_hints(torch.tensor(RED).view(1, 2, 1, 1).expand(1, 2, rows, columns), given)


def test_before_training_hints_change_nothing(fresh: Generator) -> None:
    lightness = photo(64, 96)
    with torch.no_grad():
        plain = fresh(lightness)
        assert torch.equal(fresh(lightness, red_at(16, 24, (3, 4))), plain)


def test_the_rest_of_the_network_is_that_of_one_without_hints(fresh: Generator) -> None:
    own, other = fresh.state_dict(), make().state_dict()
    assert {k for k in own if not k.startswith("hint_input.")} == other.keys()


@pytest.mark.parametrize("size", [(64, 96), (61, 83), (1, 5)])
def test_no_hints_and_empty_hints_give_the_same_output(
    trained: Generator, size: tuple[int, int]
) -> None:
    height, width = size
    rows, columns = -(-height // trained.stride), -(-width // trained.stride)
    lightness = photo(height, width)
    plain = trained.predict_raw(lightness)
    torch.testing.assert_close(trained.predict_raw(lightness, red_at(rows, columns)), plain)
    hinted = trained.predict_raw(lightness, red_at(rows, columns, (0, 0)))
    assert hinted.shape == plain.shape
    assert (hinted - plain).abs().max() > 1e-3


def test_a_network_trained_without_hints_refuses_them() -> None:
    with pytest.raises(ValueError, match="takes no hints"):
        make().predict_raw(photo(32, 32), red_at(8, 8, (0, 0)))


def test_encoded_hints_have_colors_only_where_given() -> None:
    hints = red_at(4, 4, (1, 2))
    assert hints[0, :, 1, 2].tolist() == pytest.approx([RED[0] / AB_RANGE, RED[1] / AB_RANGE, 1])
    hints[0, :, 1, 2] = 0
    assert not hints.any()


def test_a_larger_cell_takes_the_mean_of_its_own_hints() -> None:
    hints = red_at(8, 8, (0, 0), (5, 5), (6, 6))
    coarse = pool_hints(hints, 4)
    assert coarse.shape == (1, 3, 2, 2)
    torch.testing.assert_close(coarse[0, :, 0, 0], hints[0, :, 0, 0])
    torch.testing.assert_close(coarse[0, :, 1, 1], hints[0, :, 5, 5])
    assert not coarse[0, :, 0, 1].any() and not coarse[0, :, 1, 0].any()


def test_levels_finer_than_the_hints_stay_as_they_are() -> None:
    module = HintEncoder((8, 8), (2, 4), stride=4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    features = [torch.randn(1, 8, 8, 8), torch.randn(1, 8, 4, 4)]
    fine, coarse = module(features, red_at(4, 4, (2, 2)))
    assert torch.equal(fine, features[0])
    assert not torch.equal(coarse, features[1])
