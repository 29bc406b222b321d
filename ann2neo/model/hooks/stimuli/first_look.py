"""What the modules of a model are given in the first pass tells of its stimuli."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..names import module_paths
from .agreement import Fired
from .call import Call


class FirstLook:
    """Looks at what all modules of a model are given, in one pass.

    Parameters
    ----------
    call : Call
        What the model was given.
    looks_for_films : bool
        Whether stimuli (n_stimuli, n_steps, ...) may be flattened to (n_stimuli · n_steps, ...), as a
        network of images takes films.

    Attributes
    ----------
    orders : set of str
        The orders of (n_stimuli · n_steps, ...) that were seen: ``"stimuli"``, if each stimulus has its steps
        side by side, ``"steps"``, if each step has its stimuli so.
    """

    def __init__(self, call: Call, looks_for_films: bool) -> None:
        self.orders: set[str] = set()
        self._given, self._n_stimuli = call.given, call.n_stimuli
        # weakly, so that no activation lives longer than without
        self._films: list[weakref.ref[torch.Tensor]] = []
        if looks_for_films and call.given is not None and call.given.ndim > 1:
            self._films.append(weakref.ref(call.given))

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the modules within a model to look at, by path."""
        return {
            path: module
            for path, module in module_paths(model).items()
            if path
            and not isinstance(module, torch.jit.ScriptModule)
            and (self._films or self._may_be_unbatched(module) or (_n_dims_unbatched(module) or 0) > 1)
        }

    def around(
        self,
        path: str,
        module: nn.Module,
        call: Callable[[], Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Look at what a module is given, call it, and look at what it gives."""
        with torch._C.DisableTorchFunction():
            self.before(path, module, args)
        output = call()
        with torch._C.DisableTorchFunction():
            self.after(path, module, args, output)
        return output

    def _may_be_unbatched(self, module: nn.Module) -> bool:
        n_dims = _n_dims_unbatched(module)
        return n_dims is not None and self._given is not None and self._given.ndim <= n_dims

    def before(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Look at what a module is given.

        Raises
        ------
        ValueError
            If it is one stimulus without a dimension of stimuli.
        """
        if not args or not isinstance(args[0], torch.Tensor):
            return
        given = args[0]
        is_first = self._given is not None and given.shape[:1] == self._given.shape[:1]
        if is_first and given.ndim == _n_dims_unbatched(module) and self._may_be_unbatched(module):
            raise ValueError(
                f"module {path!r}, a {type(module).__name__}, is given a single stimulus of shape "
                f"{tuple(given.shape)}, so the first dimension is not the stimuli. Give a batch of one: "
                "model(x[None])"
            )
        films = [film for each in self._films if (film := each()) is not None]
        self.orders.update(order for film in films if (order := _order(film, given)))

    def after(self, path: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Look at what a module gives: it may be flattened later on.

        Raises
        ------
        ValueError
            If the module sees the stimuli one by one, and gives as many channels or steps as there are
            stimuli.
        """
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        found = output[0] if isinstance(output, tuple) else output
        is_single = first is not None and first.ndim > 1 and first.ndim == _n_dims_unbatched(module)
        if is_single and isinstance(found, torch.Tensor) and len(found) in self._n_stimuli:
            raise ValueError(
                f"module {path!r}, a {type(module).__name__}, is given stimuli one by one. What it gives, of "
                f"shape {tuple(found.shape)}, looks like {len(found)} stimuli: give another batch_size, and "
                "record layers that see the stimuli together"
            )
        if not self._films or self._given is None or not isinstance(output, torch.Tensor):
            return
        if output.ndim > 2 and output.shape[:2] == self._given.shape[:2]:
            self._films.append(weakref.ref(output))

    def films(self, fired: Sequence[Fired]) -> dict[str, str]:
        """Return the layers that give frames, (n_stimuli · n_steps, ...), with the order of these.

        Raises
        ------
        ValueError
            If it cannot be known.
        """
        if not self.orders or self._given is None:
            return {}
        n_stimuli, n_steps = self._given.shape[:2]
        of_frames = [
            each.name
            for each in fired
            if each.time_dim == 1 and not each.of_calls and each.shape[:1] == (n_stimuli * n_steps,)
        ]
        if n_steps == 1:
            if of_frames and self._given.ndim > 4:  # not a grey image, nor a step out of a sequence
                raise ValueError(
                    f"stimuli of shape {tuple(self._given.shape)} may be films of one frame, so it cannot be "
                    f"seen which layers give frames ({of_frames}): show films of several frames first"
                )
            return {}
        if of_frames and len(self.orders) > 1:
            raise ValueError(
                f"layers give {n_stimuli * n_steps} frames of {n_stimuli} stimuli of {n_steps} steps in two "
                f"orders, by stimulus and by step, and it is not known which layer has which: choose other "
                f"layers than {of_frames}"
            )
        return dict.fromkeys(of_frames, *self.orders)


def _order(film: torch.Tensor, given: torch.Tensor) -> str | None:
    """Return the order in which a film is flattened to what a module is given, or None."""
    n_stimuli, n_steps = film.shape[:2]
    if not given.ndim or len(given) != n_stimuli * n_steps or given.numel() != film.numel():
        return None
    if given.shape[:2] == film.shape[:2] and n_steps == 1 and given.ndim == film.ndim:
        return None  # it was not flattened
    flat = given.reshape(-1)
    by_stimulus = film.reshape(-1).to(flat)
    by_step = film.transpose(0, 1).reshape(-1).to(flat)
    if torch.equal(flat, by_stimulus):
        # where all steps are equal, memory tells
        shares = given.data_ptr() == film.data_ptr()
        return "stimuli" if shares or n_stimuli == 1 or not torch.equal(by_stimulus, by_step) else None
    return "steps" if torch.equal(flat, by_step) else None


def _n_dims_unbatched(module: nn.Module) -> int | None:
    """Return the dimensions of a single stimulus that a module of torch's own takes, if it takes one.

    Not of pooling: where it takes (n_stimuli, units) for one stimulus, it gives the same.
    """
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return 2
    if isinstance(module, nn.Linear | nn.RNNCellBase):
        return 1
    own = (k.__name__ for k in type(module).__mro__ if k.__module__.startswith("torch.nn"))
    found = next((match for name in own if (match := re.search(r"Conv.*(\d)d$", name))), None)
    return None if found is None else int(found[1]) + 1
