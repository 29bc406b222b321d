"""What becomes of the units of a layer in a pass: whether they reach the output, or multiply others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ...model.hooks.plain import tensors_in

MIXING = (
    *("mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "matmul", "linear"),
    *("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "lstm", "gru"),
)
"""Operations after which units are no longer apart; convolutions are, too, unless each map has its own."""

MULTIPLYING = ("mul", "multiply", "div", "divide", "true_divide", "addcmul", "addcdiv", "lerp", "glu")

Value = tuple[int, int]
"""Memory, and how often it had been written to: what an operation reads or writes."""


@dataclass(frozen=True)
class Step:
    """One operation: the values that it reads and writes, and what it does to units."""

    reads: frozenset[Value]
    writes: frozenset[Value]
    mixes: bool
    multiplies: bool
    by_part_of_itself: bool


class Flow(TorchDispatchMode):
    """Notes which values each operation of a forward pass reads and writes, while it is on.

    Views of the same memory are one value: it is the safe side to take parts of a layer for the layer.

    Parameters
    ----------
    stimuli : torch.Tensor
        What the model is given.

    Examples
    --------
    >>> x, weight = torch.rand(2, 3), torch.rand(3, 3)
    >>> with Flow(x) as flow:
    ...     hidden = (x @ weight).relu()
    ...     gate = (hidden @ weight).sigmoid()
    ...     last = ((hidden * gate) @ weight).relu()
    ...     values = [flow.value(each) for each in (hidden, gate, last)]
    >>> [flow.is_free(value, [last]) for value in values]
    [True, False, False]
    """

    supports_higher_order_operators = True

    def __init__(self, stimuli: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: list[Any] = [stimuli]  # so that no memory is used again
        self._n_written: dict[int, int] = {}
        self._steps: list[Step] = []
        self._of_stimuli = {self.value(stimuli)}

    def value(self, tensor: torch.Tensor) -> Value:
        """Return the value that a tensor has now."""
        is_dense = tensor.layout == torch.strided and not tensor.is_nested
        memory = tensor.untyped_storage()._cdata if is_dense else id(tensor)
        return memory, self._n_written.get(memory, 0)

    def is_free(self, value: Value, outputs: Iterable[torch.Tensor]) -> bool:
        """Tell whether a layer's units can go: whether weights alone read them, each for itself.

        They cannot, if they are outputs of the model, maybe pooled or normalized, or if they multiply
        something that the stimuli change and they do not, as a gate does.
        """
        apart, dependent = {value}, {value}
        for step in self._steps:
            if not step.reads & dependent:
                continue
            if step.reads & apart and not step.mixes:
                others = step.reads - dependent
                if step.multiplies and (others & self._of_stimuli or step.by_part_of_itself):
                    return False
                apart |= step.writes
            dependent |= step.writes
        return not any(self.value(output) in apart for output in outputs)

    def reaches(self, value: Value, outputs: Iterable[torch.Tensor], *, past: Value) -> bool:
        """Tell whether a value has a part in the outputs by another way than through one made of it."""
        dependent = {value}
        for step in self._steps:
            if step.reads & dependent:
                dependent |= step.writes - {past}
        return any(self.value(output) in dependent for output in outputs)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and note what it reads and writes."""
        kwargs = kwargs or {}
        given = list(tensors_in([*args, *kwargs.values()]))
        reads = frozenset(map(self.value, given))
        output = operation(*args, **kwargs)
        self._alive.append((output, given))
        written = _written(operation, args, kwargs)
        for memory in {self.value(tensor)[0] for tensor in written}:
            self._n_written[memory] = self._n_written.get(memory, 0) + 1
        writes = frozenset(map(self.value, [*tensors_in([output]), *written]))
        name = getattr(getattr(operation, "_schema", None), "name", "").rpartition("::")[2].rstrip("_")
        two = [
            (t.storage_offset(), t.shape, t.stride()) for t in given if self.value(t) == self.value(given[0])
        ]
        self._steps.append(
            Step(reads, writes, _mixes(name, args), name in MULTIPLYING, name == "glu" or len(set(two)) > 1)
        )
        if reads & self._of_stimuli:
            self._of_stimuli |= writes
        return output


def _mixes(name: str, args: Sequence[Any]) -> bool:
    if name not in ("convolution", "_convolution"):
        return name in MIXING or name.startswith("_scaled_dot_product")
    n_maps, n_groups = args[0].shape[1], args[8]
    return bool(n_groups < n_maps or n_maps == 1)


def _written(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    """Return the arguments that an operation writes to."""
    if not isinstance(operation, torch._ops.OpOverload) or not operation._schema.is_mutable:
        return []
    arguments = operation._schema.arguments
    given = {argument.name: value for argument, value in zip(arguments, args, strict=False)} | dict(kwargs)
    names = [each.name for each in arguments if each.alias_info is not None and each.alias_info.is_write]
    return list(tensors_in([given[name] for name in names if name in given]))
