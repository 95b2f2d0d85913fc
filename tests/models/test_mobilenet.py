"""Our MobileNetV2 is torchvision's."""

from __future__ import annotations

import pytest
import torch
import torchvision

from pix2color.models.mobilenet import MobileNetV2


@pytest.fixture(scope="module")
def both() -> tuple[MobileNetV2, torch.nn.Module]:
    """Ours and torchvision's of one seed."""
    nets = []
    for make in (MobileNetV2, torchvision.models.mobilenet_v2):
        torch.manual_seed(0)
        nets.append(make())
    return nets[0], nets[1]


def test_one_seed_gives_the_same_first_weights_in_the_same_order(
    both: tuple[MobileNetV2, torch.nn.Module],
) -> None:
    own, known = (net.state_dict() for net in both)
    assert list(own) == list(known)
    assert all(torch.equal(own[key], known[key]) for key in own)


@torch.no_grad()
def test_features_and_logits_are_equal_with_torchvision_s_weights(
    both: tuple[MobileNetV2, torch.nn.Module],
) -> None:
    own, known = both
    known.train()
    for _ in range(3):  # statistics of its own
        known(torch.rand(4, 3, 64, 64))
    own.load_state_dict(known.state_dict())
    own.eval(), known.eval()
    for height, width in ((33, 65), (97, 64), (1, 7), (128, 31)):
        x = torch.randn(2, 3, height, width)
        expected = known.features(x)  # type: ignore[operator]
        torch.testing.assert_close(own.features(x), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(own(x), known(x), rtol=0, atol=1e-5)


def test_gradients_and_batch_statistics_are_equal(
    both: tuple[MobileNetV2, torch.nn.Module],
) -> None:
    own, known = both
    own.load_state_dict(known.state_dict())
    x = torch.rand(2, 3, 40, 56)
    for net in both:
        net.train().zero_grad()
        net.features(x).square().mean().backward()  # type: ignore[operator]
    for (name, mine), theirs in zip(own.named_parameters(), known.parameters(), strict=True):
        if name.startswith("features"):
            torch.testing.assert_close(mine.grad, theirs.grad)
    for mine, theirs in zip(own.buffers(), known.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)
