"""Where the channels of a feature map are, as the operations of a forward pass tell."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from ..plain import tensors_in
from .axes import FIRST, Axes, name_of_axis, rule_of, unknown


class Maps(TorchDispatchMode):
    """Follows channels, rows and columns of feature maps through a forward pass, while it is on.

    Only operations tell what a dimension is: a convolution gives (n, channels, rows, columns), and a
    permutation or a matrix product takes these elsewhere or mixes them. Shapes and memory formats do not
    tell. After an operation that is not known here, dimensions are not known.

    Examples
    --------
    >>> conv, linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
    >>> image = torch.zeros(2, 3, 6, 7)
    >>> with Maps() as maps:
    ...     first = conv(image)
    ...     last = linear(first.permute(0, 2, 3, 1)).relu()
    >>> [maps.channel_dim(each) for each in (first, last, image)]
    [0, 2, None]
    """

    supports_higher_order_operators = True  # which it runs without a look at them

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # by memory, not by tensor: autograd wraps what an operation gives in another tensor
        self._known: dict[int, tuple[StorageWeakRef, dict[Any, Axes]]] = {}

    def __enter__(self) -> Maps:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def channel_dim(self, activation: torch.Tensor) -> int | None:
        """Return which dimension of one bin is the channel; the others are rows and columns, in this order.

        None, if the activation (n_bins, …) is no map, or this is not sure.
        """
        axes = self._axes(activation)
        if axes is None or len(axes) != 4 or any(name for name, _ in axes[0]):
            return None
        names = [name_of_axis(axis) for axis in axes[1:]]
        return names.index("c") if "".join(names) in ("cyx", "ycx", "yxc") else None

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and note what the dimensions of its output are."""
        kwargs = kwargs or {}
        given = list(tensors_in(args))
        known = [self._axes(tensor) for tensor in given]
        with _as_without(operation):
            output = operation(*args, **kwargs)
        rule = rule_of(operation)
        if rule is None or not (any(known) or (given and rule in FIRST)):
            for tensor in tensors_in([output]):
                self._put(tensor, None)
            return output
        axes = [each or unknown(tensor) for each, tensor in zip(known, given, strict=True)]
        for tensor in tensors_in([output]):
            self._put(tensor, rule(axes, tensor, args) if _is_plain(tensor) else None)
        return output

    def _axes(self, tensor: torch.Tensor) -> Axes | None:
        if not _is_plain(tensor):
            return None
        _, known = self._known.get(tensor.untyped_storage()._cdata, (None, {}))
        return known.get(_place(tensor))

    def _put(self, tensor: torch.Tensor, axes: Axes | None) -> None:
        if not _is_plain(tensor):
            return
        storage = tensor.untyped_storage()
        is_known = axes is not None and any(name for axis in axes for name, _ in axis)
        if not is_known and storage._cdata not in self._known:
            return
        # a weak reference keeps this address from becoming that of another storage
        _, known = self._known.setdefault(storage._cdata, (StorageWeakRef(storage), {}))
        known.pop(_place(tensor), None)
        if axes is not None and is_known:
            known[_place(tensor)] = axes


def _is_plain(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor has memory of its own, in which its numbers lie."""
    return (
        type(tensor) in (torch.Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and not tensor.is_nested
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def _place(tensor: torch.Tensor) -> Any:
    return tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride()


def _as_without(operation: Any) -> AbstractContextManager[Any]:
    """Return what makes an operation take the same way as without a dispatch mode.

    In inference mode a matrix product asks whether a view of its weights needs a gradient. Modes switch off
    what tells, and its result is then rounded otherwise.
    """
    gives_no_view = isinstance(operation, torch._ops.OpOverload) and not any(
        each.alias_info for each in operation._schema.returns
    )
    if not gives_no_view or not torch.is_inference_mode_enabled():
        return nullcontext()
    return torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.ADInplaceOrView, False)
