"""What fires in the passes of a model, as layers and bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ...recording.by_layer import check_keys
from ...recording.caller import warn_caller
from ...recording.units import Layer
from .left_out import LeftOut
from .names import model_names, what_there_is
from .plain import NotRecordable, tensor_of
from .selection import Selection, TimeDim
from .stimuli.agreement import Fired, fits_surely, other_steps, shown_in
from .stimuli.block import Block, Repeats
from .stimuli.call import Call, check_number
from .stimuli.first_look import FirstLook
from .stimuli.steps import Bins, counted, into_bins
from .watching.constants import Constants
from .watching.fast_path import FAST_PATHS
from .watching.interception import intercept, release
from .watching.maps import Maps

CONSTANT = "they do not depend on the stimuli"


class Firings:
    """Makes layers and bins of what fires, pass after pass, and hands them on.

    Parameters
    ----------
    model : torch.nn.Module
    selection : Selection
        Which layers and units, what is time.
    chosen : list of str
        The modules that were chosen, for messages.
    on_layer, on_pass : callable
        See :class:`.Hooks`.
    """

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        chosen: list[str],
        on_layer: Callable[[Layer, torch.Tensor, np.ndarray, int], Any],
        on_pass: Callable[[dict[Layer, Any], np.ndarray, Any], None],
    ) -> None:
        self.model, self.selection, self.chosen = model, selection, chosen
        self.on_layer, self.on_pass = on_layer, on_pass
        self.layers: dict[str, Layer] = {}
        self.n_stimuli = 0
        self.may_be: frozenset[int] = frozenset()
        self._shown: torch.Tensor | None = None
        self._complete_passes = 0
        self._block: Block | None = None
        self._repeats, self._to_warn_of = Repeats(), {"repeats", "padding"}
        self.forget_pass()

    @property
    def is_first(self) -> bool:
        """Whether no pass is complete yet."""
        return self._complete_passes == 0

    def announce(self, shown: torch.Tensor | None) -> None:
        """Say which steps of the stimuli in the next forward pass are bins: see :func:`into_bins`."""
        if shown is not None and self.selection.time_dim is None:
            raise ValueError(
                "lengths= or a mask was given, but no time_dim=: give the dimension of the layers' outputs "
                "that holds the steps"
            )
        self._shown = shown

    # -- a block of passes -----------------------------------------------------------------------------

    @property
    def is_in_block(self) -> bool:
        """Whether the passes are steps of the same stimuli."""
        return self._block is not None

    @contextmanager
    def stimulus(self) -> Iterator[None]:
        """Take all passes within for steps of the same stimuli."""
        if self._block is not None:
            raise RuntimeError("this is within the block of a stimulus already: leave that one first")
        before, self._block = self._complete_passes, Block()
        is_complete = False
        try:
            yield
            if self._block.has_failed:
                warn_caller(
                    "a forward pass in the block of a stimulus failed, so its stimuli are not recorded"
                )
            else:
                self._complete_block(self._block)
                is_complete = True
        finally:
            self._block = None
            if not is_complete:
                self._complete_passes = before
                self.forget_pass()

    def _complete_block(self, block: Block) -> None:
        if len(n_steps := block.n_steps):
            n_before = self.n_stimuli
            taken = {
                layer: self.on_layer(layer, activation, n_steps, n_before)
                for layer, activation in block.layers()
            }
            self.on_pass(taken, n_steps, None)
            self.n_stimuli += len(n_steps)

    # -- a pass ----------------------------------------------------------------------------------------

    def forget_pass(self) -> None:
        """Forget the pass that was begun, complete or not."""
        if self.is_first:  # nothing is left of a first pass that failed
            self.layers.clear()
            self.left_out = LeftOut()
            self._films: dict[str, str] = {}
        self._results: dict[Layer, Any] = {}
        self._called: dict[str, tuple[tuple[str, ...], list[torch.Tensor]]] = {}
        self._held: list[Fired] = []
        self._bins: Bins | None = None
        self._look: FirstLook | None = None
        self._maps: Maps | None = None
        self._n_shown_before = 0
        self._n_steps: np.ndarray | None = None
        self._call = Call()
        self.constants: Constants | None = None

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin a pass in which the model is given these."""
        self._call = Call(self.model, args, kwargs, self.selection.has_steps_first)
        if self._block is not None:
            self._n_shown_before = self._block.begin(self._call if self.selection.has_steps else None)
        if self.is_first:
            self.constants = Constants(self.model, self._call.tensors)

    def leave_out_constant(self, name: str, output: torch.Tensor) -> None:
        """Leave out a function of parameters alone; say so if it looks like one of the stimuli."""
        numbers = self.may_be or self._call.n_stimuli
        if output.ndim and output.shape[0] in numbers:
            self.left_out.add(name, CONSTANT, output)
        else:
            self.left_out.add(name)

    def offer(self, name: str, modules: tuple[str, ...], output: Any, time_dim: TimeDim) -> None:
        """Take what fired, unless it is no layer."""
        if self.is_first:
            reason = self._why_not(name, output, time_dim)
            is_named = self.selection.names(name, *modules)
            if reason == CONSTANT and is_named:
                raise ValueError(
                    f"layer {name!r} does not depend on the stimuli: it is made of parameters alone, and the "
                    "same for all of them. Choose other layers"
                )
            if reason and not is_named:
                self.left_out.add(name, reason, output)
                return
        self._fire(name, modules, output, time_dim)

    def end(self, output: Any, silent: list[str]) -> None:
        """Complete a pass that gave this output, in which these modules did not fire."""
        fired = [Fired(name, *called, 1, True) for name, called in self._called_in_steps()]
        if self._holds:
            fired = self._with_stimuli(self._held + fired)
        for each in fired:
            self._receive(each)
        self._check_what_fired(silent)
        assert self._n_steps is not None
        check_number(len(self._n_steps), self.may_be or self._call.n_stimuli)
        self._warn_of_doubts()
        if len(self._n_steps):
            self._complete_passes += 1
            if self._block is not None:
                self._block.add(self._results, self._n_steps)
            else:
                self.on_pass(self._results, self._n_steps, output)
                self.n_stimuli += len(self._n_steps)
        self._shown, self.may_be = None, frozenset()

    def _called_in_steps(self) -> Iterator[tuple[str, tuple[tuple[str, ...], torch.Tensor]]]:
        for name, (modules, outputs) in self._called.items():
            shapes = list(dict.fromkeys(tuple(each.shape) for each in outputs))
            if len(shapes) > 1:
                raise ValueError(
                    f"layer {name!r} gives shapes {shapes[0]} and {shapes[1]} in two calls of one forward "
                    "pass, so its calls are not steps of the same units: choose other layers, or give "
                    "time_dim= as a dict that has 'calls' only for layers of which each call is a step"
                )
            yield name, (modules, torch.stack(outputs, 1))

    def _warn_of_doubts(self) -> None:
        """Warn, once, of padding that counts and of a batch that is shown again and again."""
        if "padding" in self._to_warn_of and self.selection.time_dim is None and self._call.has_padding:
            self._to_warn_of.remove("padding")
            warn_caller(
                "the attention_mask marks some steps as padding, but their activations count as activity: a "
                "stimulus is one bin, and its steps are units. Give time_dim= (1, if the layers give "
                "(stimuli, steps, units)): then each step is a bin, and padding is left out"
            )
        # stimuli that are shown by record or summarize are no loop
        is_loop = self._block is None and not self.may_be
        if "repeats" in self._to_warn_of and is_loop and self._repeats.are_seen(self.model, self._call.given):
            self._to_warn_of.remove("repeats")
            warn_caller(
                "the same batch was shown three times in a row, and each time its stimuli count as new ones. "
                "If these passes are steps of the same stimuli, put them in a block, "
                "'with probe.stimulus():'. Then each pass is a step"
            )

    # -- the first pass ------------------------------------------------------------------------------

    @property
    def _holds(self) -> bool:
        """Whether what fires waits for the end of the pass, which shows what the steps of the stimuli are."""
        return self.is_first and self.selection.time_dim is not None

    @contextmanager
    def first_look(self, args: tuple[Any, ...]) -> Iterator[None]:
        """Look, in the first pass, at what all modules and operations tell of the stimuli."""
        if not self.is_first:
            yield
            return
        self._look = look = FirstLook(self._call, looks_for_films=self.selection.time_dim is not None)
        look.before(type(self.model).__name__, self.model, args)
        with ExitStack() as while_on:
            for path, module in look.modules(self.model).items():
                around = partial(look.around, path, module)
                while_on.callback(release, module, around)
                intercept(module, around)
            if not _is_changed_by_maps(self.model):
                self._maps = while_on.enter_context(Maps())
            yield

    def _with_stimuli(self, fired: list[Fired]) -> list[Fired]:
        """Return what has the steps of the stimuli; warn of the rest, which is left out from now on."""
        assert self._look is not None
        self._films = self._look.films(fired)
        fired = [self._unflattened(each) for each in fired]
        may_be = self.may_be or self._call.n_stimuli
        out = other_steps(fired, self.selection, self._call, self._shown, may_be, self._bins)
        for name, shape in out.items():
            self.left_out.add(name, "they have other steps than the stimuli", shape)
        return [each for each in fired if each.name not in out]

    def _unflattened(self, fired: Fired) -> Fired:
        """Return frames (n_stimuli · n_steps, ...) as (n_stimuli, n_steps, ...)."""
        order = self._films.get(fired.name)
        if order is None or self._call.given is None or isinstance(fired.output, PackedSequence):
            return fired
        n_stimuli, n_steps = self._call.given.shape[:2]
        if len(fired.output) != n_stimuli * n_steps:
            raise ValueError(
                f"layer {fired.name!r} gives {len(fired.output)} frames for {n_stimuli} stimuli of {n_steps} "
                "steps, but in the first pass it gave one for each step: choose other layers"
            )
        if order == "stimuli":
            return replace(fired, output=fired.output.unflatten(0, (n_stimuli, n_steps)))
        return replace(fired, output=fired.output.unflatten(0, (n_steps, n_stimuli)).transpose(0, 1))

    # -- what fires ----------------------------------------------------------------------------------

    def _why_not(self, name: str, output: Any, time_dim: TimeDim) -> str:
        """Return the reason why what fired in the first pass is no layer, if there is one."""
        try:
            found = tensor_of(output, name)
        except NotRecordable:
            return "they give no tensor of real numbers"
        if not isinstance(found, torch.Tensor):
            return ""
        if self.constants is not None and self.constants.hold(found):
            return CONSTANT
        if self._holds or self._call.nodes is not None:
            return ""  # other steps are looked at in the end of the pass
        numbers = self.may_be or self._call.n_stimuli
        dim = 1 if time_dim in (0, -found.ndim) else 0
        if numbers and (found.ndim <= dim or found.shape[dim] not in numbers):
            return "their first dimension is not the batch"
        return ""

    def _fire(self, name: str, modules: tuple[str, ...], output: Any, time_dim: TimeDim) -> None:
        found = tensor_of(output, name)
        if self._call.nodes is not None and not self._is_of_nodes(name, modules, found, time_dim):
            return
        if time_dim == "calls":
            if isinstance(found, PackedSequence):
                raise TypeError(
                    f"layer {name!r} gives a packed sequence, so its calls are not steps: "
                    "give no time_dim for it"
                )
            self._called.setdefault(name, (modules, []))[1].append(found.clone())
        elif self._holds:
            self._hold(Fired(name, modules, found, time_dim))
        else:
            self._receive(self._unflattened(Fired(name, modules, found, time_dim)))

    def _hold(self, fired: Fired) -> None:
        bins = fits_surely(fired, self._call, self._shown)
        if bins is None:
            self._held.append(replace(fired, output=_copied(fired.output)))
        else:
            self._bins = bins
            self._receive(fired)

    def _is_of_nodes(self, name: str, modules: tuple[str, ...], output: Any, time_dim: TimeDim) -> bool:
        """Tell whether a layer gives one activation for each node of the graphs, which are the stimuli."""
        assert self._call.nodes is not None
        n_nodes = int(self._call.nodes.sum())
        if time_dim is not None:
            raise ValueError(
                f"time_dim={time_dim!r}, but the stimuli are graphs and nodes are bins: give no time_dim="
            )
        if isinstance(output, torch.Tensor) and output.shape[:1] == (n_nodes,):
            return True
        if self._complete_passes or self.selection.names(name, *modules):
            raise ValueError(
                f"layer {name!r} gives shape {tuple(output.shape)} for {n_nodes} nodes: choose layers that "
                "give one activation for each node"
            )
        self.left_out.add(name, "their first dimension is not the nodes of the graphs", output)
        return False

    def _receive(self, fired: Fired) -> None:
        name, modules = fired.name, fired.modules
        nodes = self._call.nodes
        shown = shown_in(fired, self._call, self._shown, self._n_shown_before)
        activation, n_steps = into_bins(
            name, fired.output, fired.time_dim, shown, may_be_empty=self._block is not None
        )
        n_steps = n_steps if nodes is None else nodes
        if self._n_steps is None:
            self._n_steps = n_steps
        elif not np.array_equal(self._n_steps, n_steps):
            raise ValueError(
                f"layer {name!r} gives {counted(n_steps)}, in an activation of shape "
                f"{tuple(activation.shape)}, but another layer gave {counted(self._n_steps)} in the same "
                "pass. The first dimension, apart from time_dim=, must be the batch. Give time_dim= as a "
                "dict by layer, or record layers with other steps separately"
            )
        shape = tuple(activation.shape[1:])
        layer = self.layers.get(name)
        if layer is None:
            if self._complete_passes:
                raise ValueError(
                    f"layer {name!r} fires in this forward pass but not in the first: name as layers= only "
                    "those that fire for every stimulus. If a module is called a varying number of times, "
                    "time_dim='calls' makes each call a step"
                )
            names = (name, *modules)
            units, channel_dim = self.selection.units_of(names, shape), self._channel_dim(names, activation)
            layer = Layer(name, modules, shape, units, channel_dim)
            self.layers[name] = layer
        elif layer.shape != shape:
            raise ValueError(
                f"layer {name!r} gives an activation of shape {shape}, but it was {layer.shape} before: "
                "show stimuli of one size (resize or crop them)"
            )
        if self._block is not None:
            self._results[layer] = activation.clone()  # the next module may overwrite it
        else:
            self._results[layer] = self.on_layer(layer, activation, n_steps, self.n_stimuli)

    def _channel_dim(self, names: tuple[str, ...], activation: torch.Tensor) -> int | None:
        """Return which dimension of a bin is the channel: told, or found out in this pass; 0, if no map."""
        told = self.selection.channel_dim_of(names, tuple(activation.shape[1:]))
        if told is not None or activation.ndim != 4:
            return told or 0
        return None if self._maps is None else self._maps.channel_dim(activation)

    def _check_what_fired(self, silent: list[str]) -> None:
        way_out = (
            "Hooks see modules and functions that are called from Python. They do not see branches that are "
            "used in training only, nor the inside of TorchScript or of compiled code. "
            "ann2neo.layers(model, stimuli) lists what can be recorded"
        )
        missing = self.selection.unmet(self.layers.values())
        if missing or not self._results:
            lacking = missing or self.chosen or "of an activation, module or function,"
            there_is = what_there_is(model_names(self.model, aliases=True))
            if self.left_out:
                why = f"not recorded: {self.left_out}. "
                if self.left_out.n_first is not None:
                    check_number(self.left_out.n_first, self.may_be or self._call.n_stimuli, why)
                raise ValueError(f"{why}So no layer {lacking} is left; {there_is}. {way_out}")
            raise ValueError(f"no layer {lacking} fired in a forward pass; {there_is}. {way_out}")
        gone = [name for name, layer in self.layers.items() if layer not in self._results]
        if gone:
            raise ValueError(
                f"layer {gone[0]!r} fired in the first forward pass but not in this one: name as layers= "
                "only those that fire for every stimulus. If a module is called a varying number of times, "
                "time_dim='calls' makes each call a step"
            )
        if self._complete_passes:
            return
        check_keys("units", self.selection.units, self.layers.values())
        check_keys("threshold", self.selection.threshold, self.layers.values())
        check_keys("time_dim", self.selection.time_dim, self.layers.values())
        check_keys("channel_dim", self.selection.channel_dim, self.layers.values())
        if silent:
            warn_caller(f"not recorded, because they did not fire: {silent}. {way_out}")
        if self.left_out:
            warn_caller(f"not recorded: {self.left_out}")


def _copied(output: torch.Tensor | PackedSequence) -> torch.Tensor | PackedSequence:
    """Copy what the next module may overwrite."""
    if isinstance(output, PackedSequence):
        return output._replace(data=output.data.clone())
    return output.clone()


def _is_changed_by_maps(model: nn.Module) -> bool:
    """Tell whether a dispatch mode would change outputs: autocast then rounds what is fused otherwise."""
    if not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")):
        return False
    return any(isinstance(each, (*FAST_PATHS, nn.RNNBase, nn.RNNCellBase)) for each in model.modules())
