"""Summaries compared bit for bit."""

import torch

from ann2neo.summary.kernels.state import FIELDS


def assert_same_sums(one, other):
    """Bit for bit: every integer of every state, histogram and population count."""
    a, b = one.state_dict(), other.state_dict()
    assert a["settings"]["n_bins"] == b["settings"]["n_bins"]
    assert torch.equal(a["complexity"], b["complexity"])
    for x, y in zip(a["layers"], b["layers"], strict=True):
        for name in {"state", "complexity", "coactive", "histogram"} & x.keys():
            differs = (x[name] != y[name]).nonzero().tolist()
            assert not differs, (name, [FIELDS[d[0]] if name == "state" else d for d in differs])
