"""What a call of the model tells of its stimuli: how many there are, their steps, and their padding."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

_OF_ENCODER = re.compile(r"(encdec|encoder_att|cross)[^.]*\.(.*\.)?(k|v|k_proj|v_proj|key|value)$", re.I)
"""Layers in a decoder that compute keys and values of the encoder's steps."""


PAD_IT = "pad it, torch.nested.to_padded_tensor(x, 0.0), and give lengths="
"""What to do with a nested tensor, for messages."""


@dataclass(frozen=True)
class Sequences:
    """Sequences among the arguments of a call.

    Parameters
    ----------
    tokens : torch.Tensor, optional
        Integers (n_stimuli, n_steps).
    mask : torch.Tensor, optional
        (n_stimuli, n_steps), 0 where a step is padding.
    lengths : torch.Tensor, optional
        Int (n_stimuli,), the steps that are no padding.
    """

    tokens: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    lengths: torch.Tensor | None = None

    @property
    def n_steps(self) -> int | None:
        """Steps of each stimulus, or None where the call does not tell."""
        given = self.tokens if self.mask is None else self.mask
        return None if given is None else int(given.shape[1])

    @property
    def has_padding(self) -> bool:
        """Whether a step is padding."""
        return self.mask is not None and not bool(self.mask.bool().all())


@dataclass(frozen=True, eq=False)
class Call:
    """What a call of the model tells of its stimuli; each thing is read when it is asked for.

    Parameters
    ----------
    model : torch.nn.Module, optional
        What is called.
    args, kwargs
        The arguments.
    steps_first : bool
        Whether their second dimension may be the stimuli.

    Examples
    --------
    >>> sorted(Call(nn.Linear(3, 1), (torch.zeros(5, 3),), {"state": None}).n_stimuli)
    [5]
    >>> sorted(Call(nn.ReLU(), ([torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)],)).n_stimuli)
    [2, 3]
    """

    model: nn.Module | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    steps_first: bool = False

    @cached_property
    def _tensors(self) -> list[torch.Tensor | PackedSequence]:
        return list(_tensors((*self.args, *self.kwargs.values())))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors among the arguments, and in the lists, tuples and dicts among these."""
        return [each.data if isinstance(each, PackedSequence) else each for each in self._tensors]

    @cached_property
    def given(self) -> torch.Tensor | None:
        """The first tensor among the arguments."""
        return next((each for each in self._tensors if isinstance(each, torch.Tensor)), None)

    @cached_property
    def n_stimuli(self) -> frozenset[int]:
        """How many stimuli there may be; empty where the arguments do not tell."""
        if self.nodes is not None:
            return frozenset([len(self.nodes)])
        arguments = (*self.args, *self.kwargs.values())
        # a list of tensors may hold one a stimulus, as detection models take images
        numbers = {len(each) for each in arguments if isinstance(each, list | tuple) and self._tensors}
        for each in self._tensors:
            if isinstance(each, PackedSequence):
                numbers.add(int(each.batch_sizes[0]))
            else:
                numbers.update(each.shape[: 2 if self.steps_first else 1])
        return frozenset(numbers)

    @cached_property
    def nodes(self) -> np.ndarray | None:
        """The nodes of each graph, int64 (n_graphs,), if the stimuli are graphs."""
        return None if self._is_one_tensor else nodes_of(self._named)

    @cached_property
    def sides(self) -> Mapping[str, Sequences]:
        """The sequences of ``"encoder"`` and ``"decoder"``; of other models those of ``""``."""
        return _sides(self.model, self._named, self.steps_first)

    @cached_property
    def _named(self) -> dict[str, Any]:
        return by_name(self.model, self.args, self.kwargs)

    @property
    def _is_one_tensor(self) -> bool:
        return len(self.args) == 1 and not self.kwargs and isinstance(self.args[0], torch.Tensor)

    @property
    def has_decoder(self) -> bool:
        """Whether the model encodes one sequence and decodes another."""
        return "decoder" in self.sides

    @property
    def has_padding(self) -> bool:
        """Whether a step of the stimuli is padding."""
        return not self._is_one_tensor and any(side.has_padding for side in self.sides.values())

    @property
    def sequence(self) -> torch.Tensor | None:
        """What grows where a text is generated: the tokens, of the decoder if there is one."""
        side = self.sides["decoder" if self.has_decoder else ""]
        return side.tokens if side.tokens is not None or self.has_decoder else self.given

    def side_of(self, layer: str) -> str | None:
        """Return which sequences a layer sees, by its name, or None where that does not tell."""
        if not self.has_decoder:
            return ""
        if _OF_ENCODER.search(layer):
            return "encoder"
        # other parts of a decoder's attention to the encoder have the decoder's steps
        sides = (side for part in layer.split(".") for side in ("decoder", "encoder") if side in part.lower())
        return next(sides, None)

    def shown_in(self, layer: str, n_steps: int) -> torch.Tensor | None:
        """Return the mask or lengths that hold for a layer of so many steps.

        Raises
        ------
        ValueError
            If it cannot be known which do, or lengths are of other steps than the layer's.
        """
        side = self.sequences_of(layer, n_steps)
        if side.mask is not None or side.lengths is None:
            return side.mask
        shape = () if self.given is None else tuple(self.given.shape)
        others = list(shape)
        if len(side.lengths) in others:
            others.remove(len(side.lengths))  # the stimuli
        if n_steps not in others:
            raise ValueError(
                f"the model was given lengths of up to {int(side.lengths.max())} steps and an input of shape "
                f"{shape}, but layer {layer!r} gives {n_steps} steps: give lengths= in steps of the layer, "
                "or announce(lengths=) in a loop of your own"
            )
        return side.lengths

    def sequences_of(self, layer: str, n_steps: int) -> Sequences:
        """Return the sequences that a layer of so many steps sees.

        Raises
        ------
        ValueError
            If they may be the encoder's or the decoder's, of which one has padding.
        """
        side = self.side_of(layer)
        if side is not None:
            return self.sides[side]
        if not self.has_padding:
            return Sequences()
        fitting = [each for each in self.sides.values() if each.n_steps in (n_steps, None)]
        if len(fitting) == 1:
            return fitting[0]
        raise ValueError(
            f"layer {layer!r} gives {n_steps} steps. Its name does not say whether they are the encoder's or "
            "the decoder's, so it is not known which of them are padding. Give lengths=, or announce(mask=) "
            "in a loop of your own, or choose other layers"
        )


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


def parameter_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the arguments that a model takes by position.

    Examples
    --------
    >>> parameter_names(nn.Linear(2, 3)), parameter_names(nn.GRU(2, 3))
    (('input',), ('input', 'hx'))
    """
    forward = model.forward
    # the function, which is the same for all models of a class, and keeps none of them alive
    if inspect.ismethod(forward):
        return _positions(forward.__func__)[1:]
    return _positions.__wrapped__(forward)


@lru_cache(64)
def _positions(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(each.name for each in parameters if each.kind in by_position)


def by_name(model: nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments by name, and those that are in a mapping or graph among them."""
    names = () if model is None else parameter_names(model)
    named = dict(zip(names, args, strict=False)) | dict(kwargs)
    for each in (*args, *kwargs.values()):
        if isinstance(each, Mapping):
            named.update({name: value for name, value in each.items() if isinstance(name, str)})
        elif is_graph(each):
            named.update(each.to_dict())
    return named


def is_graph(given: Any) -> bool:
    """Tell whether something is a graph: a mapping with ``edge_index``, or as torch_geometric has them.

    Examples
    --------
    >>> is_graph({"x": torch.zeros(3, 1), "edge_index": torch.zeros(2, 0)}), is_graph(torch.zeros(3, 1))
    (True, False)
    """
    if isinstance(given, Mapping):
        return "edge_index" in given
    return hasattr(given, "edge_index") and hasattr(given, "to_dict")


def nodes_of(named: Mapping[str, Any]) -> np.ndarray | None:
    """Return the nodes of each graph, int64 (n_graphs,), or None if the arguments are no graphs.

    Raises
    ------
    ValueError
        If the nodes of a graph do not follow one another, or it has none.

    Examples
    --------
    >>> of_graph = torch.tensor([0, 0, 0, 1, 1])
    >>> nodes_of({"x": torch.zeros(5, 2), "edge_index": torch.zeros(2, 0), "batch": of_graph})
    array([3, 2])
    """
    if named.get("edge_index") is None:
        return None
    tensors = (v for k, v in named.items() if k not in ("edge_index", "batch", "ptr"))
    of_nodes = named.get("x", next((v for v in tensors if isinstance(v, torch.Tensor) and v.ndim), None))
    if of_nodes is None:
        return None
    batch, ptr = (None if named.get(k) is None else torch.as_tensor(named[k]).cpu() for k in ("batch", "ptr"))
    if ptr is not None:
        nodes = ptr.diff().numpy()
    elif batch is not None:
        if bool((batch.diff() < 0).any()):
            raise ValueError(f"batch={batch} is the graph of each node: sort the nodes by their graphs")
        nodes = batch.bincount().numpy()
    else:
        nodes = np.array([len(of_nodes)])
    if not nodes.all():
        raise ValueError(f"graph {int(nodes.argmin())} of the batch has no node: leave it out")
    return nodes.astype(np.int64)


def _sides(model: nn.Module | None, named: Mapping[str, Any], steps_first: bool) -> dict[str, Sequences]:
    of_decoder = {n.removeprefix("decoder_"): v for n, v in named.items() if n.startswith("decoder_")}
    has_decoder = getattr(getattr(model, "config", None), "is_encoder_decoder", False) is True
    if not has_decoder and not any(isinstance(value, torch.Tensor) for value in of_decoder.values()):
        return {"": _sequences(named, steps_first)}
    rest = {name: value for name, value in named.items() if not name.startswith("decoder_")}
    return {"encoder": _sequences(rest, steps_first), "decoder": _sequences(of_decoder, steps_first)}


def _sequences(named: Mapping[str, Any], steps_first: bool) -> Sequences:
    tokens = None if steps_first else _tokens(named)
    mask = named.get("attention_mask")
    if not isinstance(mask, torch.Tensor):
        return Sequences(tokens, None, _lengths(named))
    embedded = named.get("inputs_embeds") if tokens is None else tokens
    n_new = embedded.shape[1] if isinstance(embedded, torch.Tensor) else None
    if mask.ndim == 4 and n_new == 1:
        return Sequences(tokens)  # which of the steps before the new one sees; that one is no padding
    if mask.ndim == 2 and n_new is not None and mask.shape[1] > n_new:
        mask = mask[:, -n_new:]  # the steps before are in a cache
    return Sequences(tokens, mask)


def _lengths(named: Mapping[str, Any]) -> torch.Tensor | None:
    """Return integers, one a stimulus, whose name says that they are lengths."""
    found = (v for name, v in named.items() if "len" in name.lower() and isinstance(v, torch.Tensor))
    lengths = next((v for v in found if v.ndim == 1 and not v.is_floating_point()), None)
    given = next((v for v in named.values() if isinstance(v, torch.Tensor) and v.ndim > 1), None)
    has_one_each = lengths is not None and given is not None and len(lengths) in given.shape[:2]
    return lengths if has_one_each else None


def _tokens(named: Mapping[str, Any]) -> torch.Tensor | None:
    """Return the first argument if it is integers (n_stimuli, n_steps); ``input_ids`` are it by name."""
    others = (value for name, value in named.items() if "mask" not in name and value is not None)
    found = named.get("input_ids", next((each for each in others if isinstance(each, torch.Tensor)), None))
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        return None
    is_integer = not found.is_floating_point() and not found.is_complex() and found.dtype != torch.bool
    return found if is_integer else None


def _tensors(arguments: Sequence[Any]) -> Iterator[torch.Tensor | PackedSequence]:
    """Yield the tensors among arguments, and in the lists, tuples and dicts among these."""
    for each in arguments:
        if isinstance(each, torch.Tensor) and each.is_nested:
            raise TypeError(f"the model was given a nested tensor: {PAD_IT}")
        if isinstance(each, PackedSequence) or (isinstance(each, torch.Tensor) and each.ndim):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)
        elif isinstance(each, Mapping):
            yield from _tensors(list(each.values()))
