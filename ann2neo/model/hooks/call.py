"""What a call of the model tells of its stimuli."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence


@dataclass(frozen=True)
class Call:
    """What a call of the model tells of its stimuli.

    Parameters
    ----------
    tensors : tuple of torch.Tensor
        Those among its arguments, and in the lists, tuples and dicts among these.
    n_stimuli : frozenset of int
        How many stimuli there may be; empty where the arguments do not tell.

    Examples
    --------
    >>> sorted(Call.read((torch.zeros(5, 3),), {"state": None}).n_stimuli)
    [5]
    >>> sorted(Call.read(([torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)],), {}).n_stimuli)
    [2, 3]
    """

    tensors: tuple[torch.Tensor, ...] = ()
    n_stimuli: frozenset[int] = frozenset()

    @classmethod
    def read(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any], steps_first: bool = False) -> Call:
        """Read the arguments of a call; with ``steps_first`` their second dimension may be the stimuli."""
        arguments = (*args, *kwargs.values())
        tensors = list(_tensors(arguments))
        # a list of tensors may hold one a stimulus, as detection models take images
        numbers = {len(each) for each in arguments if isinstance(each, list | tuple) and tensors}
        for each in tensors:
            if isinstance(each, PackedSequence):
                numbers.add(int(each.batch_sizes[0]))
            else:
                numbers.update(each.shape[: 2 if steps_first else 1])
        given = (each.data if isinstance(each, PackedSequence) else each for each in tensors)
        return cls(tuple(given), frozenset(numbers))


def check_number(n_recorded: int, may_be: frozenset[int], why: str = "") -> None:
    """Check that the layers saw as many stimuli as the model was given; ``why`` begins the message.

    Raises
    ------
    ValueError
        If they did not.
    """
    if may_be and n_recorded not in may_be:
        given = " or ".join(map(str, sorted(may_be)))
        raise ValueError(
            f"{why}the layers gave {n_recorded} activations for a batch of {given} stimuli. The first "
            "dimension of the input and of each layer must be the stimuli: give one stimulus as a batch of "
            "one (x[None]), record layers whose first dimension is the stimuli, or name the dimension that "
            "is time as time_dim="
        )


def _tensors(arguments: Sequence[Any]) -> Iterator[torch.Tensor | PackedSequence]:
    """Yield the tensors among arguments, and in the lists, tuples and dicts among these."""
    for each in arguments:
        if isinstance(each, PackedSequence):
            yield each
        elif isinstance(each, torch.Tensor):
            if not each.is_nested and each.ndim:
                yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)
        elif isinstance(each, Mapping):
            yield from _tensors(list(each.values()))
