"""Networks whose weights are loaded next need no random ones first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = {
    nn.init.kaiming_uniform_,  # these three are told of before they call the tensors' methods
    nn.init.normal_,
    nn.init.uniform_,
    Tensor.normal_,
    Tensor.uniform_,
}


class skip_weight_init(TorchFunctionMode):  # noqa: N801 - used as a context manager
    """Within it, first weights are 0 instead of random: drawing them takes most of a building.

    Constants, buffers and the random generators' states are as ever.

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
        """Zeros for draws; everything else as asked."""
        named = kwargs or {}
        if func not in _DRAWS:
            return func(*args, **named)
        drawn: Tensor = args[0] if args else named["tensor"]
        drawn.detach().zero_()
        return drawn
