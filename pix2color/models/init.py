"""Skip the initialization of weights that a checkpoint replaces right after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_RANDOM_INITS = {
    # torch.nn.init's functions are overridable by themselves, before they call tensor methods.
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    Tensor.normal_,
    Tensor.uniform_,
}


class skip_weight_init(TorchFunctionMode):  # noqa: N801 - used as a context manager
    """Within it, initial weights are 0 instead of random, which takes most of the building time.

    Constants, buffers and the states of random generators are not affected.

    >>> with skip_weight_init():
    ...     generator = build_generator(model, pretrained=False)  # doctest: +SKIP
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Zeros for random draws; other functions are called."""
        kwargs = kwargs or {}
        if func not in _RANDOM_INITS:
            return func(*args, **kwargs)
        weight: Tensor = args[0] if args else kwargs["tensor"]
        weight.detach().zero_()
        return weight
