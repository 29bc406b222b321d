"""What a recording says of itself, as every file format can keep it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def as_json(annotations: Mapping[str, Any]) -> str:
    """Return annotations as JSON with sorted keys.

    Raises
    ------
    ValueError
        If a value, or a key that is no string, cannot be kept.

    Examples
    --------
    >>> as_json({"b": np.float64(0.5), "a": (1, 2)})
    '{"a": [1, 2], "b": 0.5}'
    """
    wrong = [key for key in annotations if not isinstance(key, str)]
    if wrong:
        raise ValueError(f"annotations have the key {wrong[0]!r}: give strings as keys")
    return json.dumps(dict(annotations), default=_plain, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise ValueError(
        f"annotation value {value!r} is a {type(value).__name__}: "
        "give numbers, strings, lists or dicts, which every file format can keep"
    )
