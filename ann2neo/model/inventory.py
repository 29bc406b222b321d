"""What there is to record in a model: every place that fires in a forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from .hooks.firings import Firings
from .hooks.hooks import Hooks
from .hooks.place import Place
from .hooks.plain import tensor_of
from .hooks.selection import Selection
from .hooks.watching.functions import name_of
from .runs.batches import batches
from .runs.evaluation import evaluation

if TYPE_CHECKING:
    import pandas as pd


def layers(model: nn.Module, example: Any, *, device: Any = None) -> pd.DataFrame:
    """List every place in a model that can be recorded, in the order of firing.

    Parameters
    ----------
    model : torch.nn.Module
    example : array, mapping, DataLoader, Dataset or iterable of batches
        Stimuli, as for :func:`ann2neo.record`; two of them are shown, in evaluation mode.
    device : str or torch.device, optional
        Where to run; by default where the model's parameters are.

    Returns
    -------
    pandas.DataFrame
        One row a layer: ``layer``, its name, which ``layers=`` of :func:`ann2neo.record` takes; ``kind``,
        type of the module or name of the function; ``shape`` of what it gives for one stimulus, and
        ``n_units``, its product; ``n_calls``, how often the module fires in a forward pass, each time as a
        layer of its own; ``by_default``, whether it is recorded when no layers are named.

    Raises
    ------
    ValueError, TypeError
        If there is no example, or it is not what is listed above.

    Examples
    --------
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv, self.act = nn.Conv2d(1, 4, 3), nn.ReLU()
    ...     def forward(self, x):
    ...         return torch.tanh(self.act(self.act(self.conv(x)) - 1)).flatten(1)
    >>> layers(Net(), torch.zeros(2, 1, 5, 5))
         layer       kind      shape  n_units  n_calls  by_default
    0     conv     Conv2d  (4, 3, 3)       36        1       False
    1      act       ReLU  (4, 3, 3)       36        2        True
    2      sub      sub()  (4, 3, 3)       36        1       False
    3    act_1       ReLU  (4, 3, 3)       36        2        True
    4     tanh     tanh()  (4, 3, 3)       36        1        True
    5  flatten  flatten()      (36,)       36        1       False
    6      Net        Net      (36,)       36        1       False
    """
    import pandas as pd

    default, found = _Default(model), _Inventory(model)
    with evaluation(model, device) as where, default, found:
        next(batches(example, 2, model)).show_to(model, where)
    table = pd.DataFrame(found.places)
    table.insert(4, "n_calls", table.pop("place").map(found.n_calls))
    table["by_default"] = table["layer"].isin(default.names)
    return table


class _Everything(Selection):
    """Selects all modules, if it is made for ``nn.Module``, and all functions."""

    def watches_functions(self, model: nn.Module) -> bool:
        return True

    def names_functions(self, model: nn.Module) -> bool:
        return True


class _Names(Firings):
    """Notes the names of what fires."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.names: list[str] = []

    def _fire(self, name: str, modules: tuple[str, ...], output: Any, time_dim: Any) -> None:
        self.names.append(name)

    def end(self, output: Any, silent: list[str]) -> None:
        pass


class _Default(Hooks):
    """Notes what is recorded when no layers are named."""

    make_firings = _Names

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, Selection(), lambda *_: None, lambda *_: None)

    @property
    def names(self) -> list[str]:
        assert isinstance(self._firings, _Names)
        return self._firings.names


class _Inventory(Hooks):
    """Notes each place that fires, whatever the shape of what it gives."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, _Everything(nn.Module), lambda *_: None, lambda *_: None)
        self.places: list[dict[str, Any]] = []
        self.n_calls: dict[str, int] = {}

    def _module_called(self, place: Place, output: Any) -> None:
        assert place.name is not None
        n_before = self.n_calls.get(place.name, 0)
        self.n_calls[place.name] = n_before + 1
        self._note(self._name_of(place.name, n_before), place.name, type(place.module).__name__, output)

    def _function_called(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if self._is_blind or not isinstance(output, torch.Tensor) or name_of(function) in ("get", "set"):
            return
        name = self._function_name(function)
        if name is not None:
            self.n_calls[name] = 1
            self._note(name, name, f"{name_of(function)}()", output)

    def _note(self, name: str, place: str, kind: str, output: Any) -> None:
        try:
            found = tensor_of(output, name)
        except TypeError:
            return
        values = found.data if isinstance(found, PackedSequence) else found
        if not values.ndim:
            return
        shape = tuple(values.shape[1:])
        self.places.append(
            {
                "layer": name,
                "kind": kind,
                "shape": shape,
                "n_units": int(torch.Size(shape).numel()),
                "place": place,
            }
        )

    def _end_pass(self, output: Any) -> None:
        pass
