"""What a model's modules give, by plain torch hooks: the zoo's oracle, which knows nothing of ann2neo."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import nn


@dataclass
class Fired:
    """What every module gave: one entry a call, in the order of the first pass.

    ``relu_1`` is the second call of ``relu`` in a pass. ``values`` holds what has the stimuli first, float
    (n_stimuli, ...); ``apart`` the names of what has another first dimension, such as a table of positions.
    """

    values: dict[str, torch.Tensor]
    apart: list[str]
    module_of: dict[str, str] = field(default_factory=dict)
    leaves: set[str] = field(default_factory=set)

    def chosen(self, globs: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return what modules of these names gave."""
        return {
            name: value
            for name, value in self.values.items()
            if any(fnmatchcase(self.module_of[name], glob) for glob in globs)
        }

    def of_leaves(self) -> dict[str, torch.Tensor]:
        """Return what modules without children gave."""
        return {name: value for name, value in self.values.items() if name in self.leaves}


def capture(model: nn.Module, batches: Iterable) -> Fired:
    """Show batches, each (arguments, number of stimuli), to a model in evaluation mode; keep all it gives."""
    passes: list[list[tuple[str, str, bool, torch.Tensor]]] = []

    def hook_of(path):
        def hook(module, args, output):
            value = first_tensor(output)
            if value is not None:
                n_before = sum(path == earlier for _, earlier, *_ in passes[-1])
                name = f"{path}_{n_before}" if n_before else path
                is_leaf = all(name == "parametrizations" for name, _ in module.named_children())
                # what comes next may overwrite it
                passes[-1].append((name, path, is_leaf, value.detach().clone()))

        return hook

    handles = [module.register_forward_hook(hook_of(path)) for path, module in model.named_modules()]
    sizes = []
    with torch.no_grad():
        model.eval()
        for arguments, n_stimuli in batches:
            passes.append([])
            sizes.append(n_stimuli)
            show(model, arguments)
    for handle in handles:
        handle.remove()
    return _joined(passes, sizes)


def _joined(passes: list, sizes: list[int]) -> Fired:
    fired = Fired({}, [])
    for firings in zip(*passes, strict=True):  # the same calls in each pass
        name, path, is_leaf, _ = firings[0]
        assert all(other[0] == name for other in firings), "the passes differ"
        values = [value for *_, value in firings]
        if all(value.ndim and len(value) == n for value, n in zip(values, sizes, strict=True)):
            fired.values[name] = torch.cat(values)
        elif is_leaf:
            fired.apart.append(name)
        fired.module_of[name] = path
        if is_leaf:
            fired.leaves.add(name)
    return fired


def show(model, arguments):
    """Call a model with one tensor, or with arguments by name."""
    return model(**arguments) if isinstance(arguments, Mapping) else model(arguments)


def first_tensor(output):
    """Return a tensor, or the first one of a tuple or of a mapping."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, Sequence):
        return next((part for part in output if isinstance(part, torch.Tensor)), None)
    return output if isinstance(output, torch.Tensor) else None


def cut(stimuli, size: int) -> list:
    """Cut stimuli into batches for :func:`capture`."""
    if not isinstance(stimuli, Mapping):
        return [(part, len(part)) for part in stimuli.split(size)]
    n_stimuli = len(next(iter(stimuli.values())))
    return [
        ({name: value[i : i + size] for name, value in stimuli.items()}, min(size, n_stimuli - i))
        for i in range(0, n_stimuli, size)
    ]


def spikes(activation: torch.Tensor, n_bin_dims: int = 1):
    """Return bool (n_units, n_bins): which units are above 0; the first dimensions are stimuli and steps."""
    bins = activation.flatten(0, n_bin_dims - 1)
    return (bins.reshape(len(bins), -1) > 0).numpy().T
