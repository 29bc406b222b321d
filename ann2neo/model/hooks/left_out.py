"""What fires and is not recorded, with the reasons."""

from __future__ import annotations

from typing import Any

import torch


class LeftOut:
    """Layers that are not recorded, though they were not left out by name.

    Examples
    --------
    >>> left_out = LeftOut()
    >>> left_out.add("positions", "their first dimension is not the batch", torch.zeros(1, 4, 3))
    >>> print(left_out)
    {'positions': (1, 4, 3)}, because their first dimension is not the batch
    >>> "positions" in left_out, left_out.n_first
    (True, 1)
    """

    def __init__(self) -> None:
        self._silent: set[str] = set()
        self._shapes: dict[str, dict[str, Any]] = {}
        self.n_first: int | None = None
        """The first dimension of the first of them that has one."""

    def add(self, name: str, reason: str | None = None, gave: Any = None) -> None:
        """Leave a layer out; without a reason nothing is said of it.

        Parameters
        ----------
        name : str
        reason : str, optional
            In the plural.
        gave : torch.Tensor or tuple of int, optional
            What it gave, or its shape.
        """
        if reason is None:
            self._silent.add(name)
            return
        shape = tuple(gave.shape) if isinstance(gave, torch.Tensor) else gave
        if self.n_first is None and isinstance(shape, tuple) and shape and isinstance(shape[0], int):
            self.n_first = shape[0]
        self._shapes.setdefault(reason, {})[name] = shape if isinstance(shape, tuple) else type(gave).__name__

    def __contains__(self, name: str) -> bool:
        return name in self._silent or any(name in shapes for shapes in self._shapes.values())

    def __bool__(self) -> bool:
        """Tell whether there is something to be said."""
        return bool(self._shapes)

    def __str__(self) -> str:
        return "; ".join(f"{shapes}, because {reason}" for reason, shapes in self._shapes.items())
