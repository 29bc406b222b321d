"""Dicts by layer, whose keys are names or globs: an exact name wins over a glob."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from .units import Layer


def rule_of(threshold: Any, layer: str) -> Any:
    """Return what a threshold says for a layer; the keys of a dict are names or globs.

    Raises
    ------
    ValueError
        If a dict has nothing for the layer.

    Examples
    --------
    >>> from ann2neo import Quantile
    >>> rule_of({"conv*": 0.5, "fc": Quantile(0.9)}, "conv2"), rule_of(0.0, "fc")
    (0.5, 0.0)
    """
    if not isinstance(threshold, Mapping):
        return threshold
    if layer in threshold:
        return threshold[layer]
    for pattern, rule in threshold.items():
        if fnmatchcase(layer, pattern):
            return rule
    raise ValueError(
        f"threshold has nothing for layer {layer!r}, only for {list(threshold)}: "
        "add it, or '*' for all other layers"
    )


def unmet(patterns: Iterable[str], layers: Iterable[Layer]) -> list[str]:
    """Return the names and globs that are those of none of the layers."""
    known = [(layer.name, *layer.modules) for layer in layers]
    return [p for p in patterns if not any(_is_named(p, *names) for names in known)]


def _is_named(pattern: str, *names: str) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def check_keys(argument: str, by_layer: Mapping[str, Any], layers: Iterable[Layer]) -> None:
    """Raise if a key of a dict by layer is the name or glob of none of the layers."""
    layers = list(layers)
    unknown = [key for key in by_layer if key != "*" and unmet([key], layers)]
    if unknown:
        names = [layer.name for layer in layers]
        raise ValueError(f"{argument} has {unknown[0]!r}, which is none of the layers recorded: {names}")
