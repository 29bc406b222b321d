"""Where in a model something fires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True, eq=False)
class Place:
    """A module and what may fire there.

    Parameters
    ----------
    module : torch.nn.Module
    name : str, optional
        If the module was chosen.
    path : str, optional
        Names the functions that are called in it, if these are of interest.
    by_hand : str, optional
        Its name, if it may be an activation that was written by hand.
    is_layer : bool
        Whether it is chosen, and what is called in it is no layer of its own.
    is_leaf : bool
        Whether it has no module in it.
    """

    module: nn.Module
    name: str | None
    path: str | None
    by_hand: str | None
    is_layer: bool
    is_leaf: bool


@dataclass(eq=False)
class Frame:
    """One call of a module, within that of another.

    Parameters
    ----------
    place : Place
    outer : Frame, optional
        The call that it was made in.
    """

    place: Place
    outer: Frame | None
    held: list[Callable[[], None]] = field(default_factory=list)
    """What fired inside, while it is open whether the module itself is the activation."""
    outputs: list[Any] = field(default_factory=list)
    has_fired: bool = False
    has_product: bool = False
    """Whether a matrix product was computed in it."""
    is_within: bool = field(init=False)
    """Whether it is in a place that is a layer."""
    candidate: Frame | None = field(init=False)
    """The outermost call around it, or itself, of a module that may be an activation written by hand."""

    def __post_init__(self) -> None:
        self.is_within = self.place.is_layer or (self.outer is not None and self.outer.is_within)
        around = None if self.outer is None else self.outer.candidate
        self.candidate = around or (self if self.place.by_hand is not None else None)
