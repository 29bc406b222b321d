"""Arguments that may be dicts by layer, whose keys are names or globs: one way to read them all.

An exact name wins over a glob, wherever it stands in the dict; of several globs that match, the first wins. A
layer answers to its own name and to the names under which the model knows its module, in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from .units import Layer


def matches(pattern: str, *names: str) -> bool:
    """Tell whether a name or glob is, or matches, one of the names.

    Examples
    --------
    >>> matches("conv*", "conv1"), matches("a[1]", "a[1]"), matches("fc", "conv1", "conv2")
    (True, True, False)
    """
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def key_for(argument: str, by_layer: Mapping[str, Any], *names: str) -> str | None:
    """Return the key that holds for a layer with these names, or None if there is none.

    Parameters
    ----------
    argument : str
        What the dict was given as, for messages.
    by_layer : mapping
        From names or globs to anything.
    *names : str
        The names of the layer, its own first.

    Raises
    ------
    ValueError
        If a key is no text.

    Examples
    --------
    >>> thresholds = {"conv*": 0.5, "*": 0.0, "conv1": 1.0}
    >>> [key_for("threshold", thresholds, name) for name in ("conv1", "conv2", "fc")]
    ['conv1', 'conv*', '*']
    """
    for key in by_layer:
        if not isinstance(key, str):
            raise ValueError(f"{argument} has the key {key!r}: give names or globs of layers, as text")
    exact = next((name for name in names if name in by_layer), None)
    return next((key for key in by_layer if matches(key, *names)), None) if exact is None else exact


def value_for(argument: str, given: Any, *names: str) -> Any:
    """Return what an argument says for a layer with these names: its entry in a dict, else the argument.

    Raises
    ------
    ValueError
        If a dict has nothing for the layer.

    Examples
    --------
    >>> value_for("threshold", {"*": 0.5, "fc": 2.0}, "fc"), value_for("threshold", 1.5, "fc")
    (2.0, 1.5)
    """
    if not isinstance(given, Mapping):
        return given
    key = key_for(argument, given, *names)
    if key is None:
        raise ValueError(
            f"{argument} has nothing for layer {names[0]!r}, only for {list(given)}: "
            "add it, or '*' for all other layers"
        )
    return given[key]


def unmet(patterns: Iterable[str], layers: Iterable[Layer]) -> list[str]:
    """Return the names and globs that match no layer."""
    known = [layer.names for layer in layers]
    return [pattern for pattern in patterns if not any(matches(pattern, *names) for names in known)]


def check_keys(argument: str, given: Any, layers: Iterable[Layer]) -> None:
    """Raise if an argument is a dict with a key that matches no layer: a name misspelt, say."""
    layers = list(layers)
    keys = [key for key in given if key != "*"] if isinstance(given, Mapping) else []
    unknown = unmet(keys, layers)
    if unknown:
        names = [layer.name for layer in layers]
        raise ValueError(
            f"{argument} has the key {unknown[0]!r}, but no recorded layer has that name; there are {names}"
        )
