"""What every part of a network keeps, whatever kind it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def draw(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give a module small random weights, each scaled by the values that enter it.

    Quicker than the usual first weights of a large network, and no weight or statistic stays 0.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 100
            noise = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.copy_((parameter.ndim == 1) + noise * (12 / fan_in) ** 0.5)
    return module


def check_state(module: nn.Module, run: Callable[[nn.Module], Iterable[Tensor]]) -> None:
    """Weights saved and loaded into another module of the kind give the same outputs."""
    module.eval()
    other = draw(copy.deepcopy(module), seed=1)
    with torch.no_grad():
        expected = list(run(module))
        assert any(not torch.equal(a, b) for a, b in zip(run(other), expected, strict=True))
        other.load_state_dict({k: v.clone() for k, v in module.state_dict().items()})
        assert all(torch.equal(a, b) for a, b in zip(run(other), expected, strict=True))


def check_gradients(module: nn.Module, outputs: Iterable[Tensor]) -> None:
    """Every parameter that may learn gets a finite gradient, and not all of them are 0."""
    torch.stack([output.float().square().mean() for output in outputs]).sum().backward()
    gradients = [p.grad for p in module.parameters() if p.requires_grad]
    assert gradients and all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert any(bool((g != 0).any()) for g in gradients if g is not None)


def in_bfloat16() -> torch.autocast:
    """Mixed precision as on an accelerator."""
    return torch.autocast("cpu", dtype=torch.bfloat16)
