"""Print, as Markdown, which models of other people are recorded rightly, and in how many lines.

Run from the root of the repository: ``PYTHONPATH=.:tests python -m zoo.table``.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

import ann2neo

from . import special
from .capture import capture, cut, spikes
from .models import BATCH_SIZE, N_STIMULI, ZOO, Model, tokens

# -- what a user writes; a body's lines are counted --------------------------------------------------


def at_once(model, stimuli):
    return ann2neo.record(model, stimuli)


def each_token_a_bin(model, stimuli):
    return ann2neo.record(model, stimuli, time_dim=1)


def steps_first(model, stimuli):
    return ann2neo.record(model, stimuli, time_dim=0)


def each_call_a_bin(model, stimuli):
    return ann2neo.record(model, stimuli, time_dim="calls")


def in_a_loop(model, batches):
    with ann2neo.Probe(model) as probe, torch.no_grad():
        for batch in batches:
            model(batch)
    return probe.recording


WITH = {
    at_once: "",
    each_token_a_bin: "`time_dim=1`: tokens or patches are bins",
    steps_first: "`time_dim=0`: steps are bins",
    each_call_a_bin: '`time_dim="calls"`: steps are bins',
    in_a_loop: "`Probe`",
}


# -- what is right: the spikes of each layer, by plain hooks -----------------------------------------


def of_zoo(model: Model, network: Any, stimuli: Any) -> dict:
    fired = capture(network, cut(stimuli, N_STIMULI))
    activations = fired.chosen(model.activations)
    if model.functions:
        activations |= model.functions(fired.values, network)
    if not model.time_dim:
        return {name: spikes(value) for name, value in activations.items()}
    return {name: spikes(value, 2) for name, value in activations.items() if value.ndim == 3}


def of_nodes(globs: tuple[str, ...], network: Any, nodes: Any) -> dict:
    return {k: spikes(v) for k, v in capture(network, [(nodes, len(nodes["x"]))]).chosen(globs).items()}


def of_calls(network: Any, stimuli: Any) -> dict:
    fired = capture(network, [(stimuli, N_STIMULI)])
    found = {}
    for name in ("network.1", "network.3"):
        calls = [value for call, value in fired.values.items() if fired.module_of[call] == name]
        found[name] = spikes(torch.stack(calls, 1), 2)
    return found


def of_steps_first(network: Any, stimuli: Any) -> dict:
    fired = capture(network, [(stimuli, len(stimuli))])
    return {name: spikes(fired.values[name].transpose(0, 1), 2) for name in ("1", "3")}


def of_images(network: Any, batches: Any) -> dict:
    fired = capture(network, [(batch, len(batch)) for batch in batches])
    return {name: spikes(value) for name, value in fired.chosen(special.OF_IMAGES).items()}


# -- rows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One row: ``build`` gives a new model and its stimuli, ``right`` the spikes of each layer."""

    name: str
    library: str
    build: Callable[[], tuple[Any, Any]]
    way: Callable
    right: Callable[[Any, Any], dict]

    def __str__(self) -> str:
        n_lines = len(inspect.getsource(self.way).splitlines()) - 1
        try:
            right = self.right(*self.build())
            recording = self.way(*self.build())
        except ImportError:
            return f"| {self.name} | {self.library} | | | | not installed |"
        except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
            reason = str(error).replace("\n", " ").replace("|", "/").split(". ")[0][:200]
            return f"| {self.name} | {self.library} | | | {n_lines} | refused; {reason} |"
        remarks = [WITH[self.way]] if WITH[self.way] else []
        names = set(right) & set(recording.layers)
        if any(not same(recording.raster(name), right[name]) for name in names):
            remarks.append("**wrong**")
        if set(right) - names:
            remarks.append(f"not recorded: {shortened(set(right) - names)}")
        if set(recording.layers) - names:
            remarks.append(f"recorded besides: {shortened(set(recording.layers) - names)}")
        counts = f"{len(recording.layers)} | {recording.n_units} | {n_lines}"
        return f"| {self.name} | {self.library} | {counts} | {'; '.join(remarks)} |"


def same(found: Any, right: Any) -> bool:
    return found.shape == right.shape and bool((found == right).all())


def shortened(names: set[str]) -> str:
    first, *others = sorted(names)
    return f"`{first}`" + (f" and {len(others)} more" if others else "")


def looped(build: Callable) -> tuple[Any, Any]:
    return special.Loop(build()[0]), special.currents()


def all_steps(build: Callable) -> tuple[Any, Any]:
    return build(), special.currents().transpose(0, 1)


def rows() -> list[Row]:
    """Return what the table has."""
    of_models = [
        Row(
            each.name,
            each.library,
            each.built,
            each_token_a_bin if each.time_dim else at_once,
            partial(of_zoo, each),
        )
        for each in ZOO
    ]
    experts = [
        Row(kind, "transformers", lambda k=kind: (special.of_experts(k), tokens()), at_once, lambda *_: {})
        for kind in special.EXPERTS
    ]
    one_step = [
        Row("spiking, a loop in the model", library, partial(looped, build), each_call_a_bin, of_calls)
        for library, build in (("snntorch", special.snntorch), ("spikingjelly", special.spikingjelly))
    ]
    steps = [
        Row("spiking, all steps at once", library, partial(all_steps, build), steps_first, of_steps_first)
        for library, build in (
            ("spikingjelly", special.spikingjelly_of_steps),
            ("norse", special.norse_of_steps),
        )
    ]
    graphs = [
        Row(
            kind,
            "torch_geometric",
            lambda k=kind: (special.of_nodes(k), special.graph()),
            at_once,
            partial(of_nodes, globs),
        )
        for kind, globs in special.OF_NODES.items()
    ]
    detector = Row(
        "Faster R-CNN",
        "torchvision",
        lambda: (special.detector().eval(), special.lists_of_images(BATCH_SIZE)),
        in_a_loop,
        of_images,
    )
    return [*of_models, *experts, *one_step, *steps, *graphs, detector]


def main() -> None:
    """Print the table."""
    print("| model | library | layers by default | units | lines | remarks |")
    print("|---|---|---:|---:|---:|---|")
    for row in rows():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print(row, flush=True)


if __name__ == "__main__":
    main()
