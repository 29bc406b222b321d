"""A part in the calls of a live model: what each selected place gives in one pass."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ...recording.by_layer import check_keys
from ...recording.units import Layer
from .agreement import Fired, fits_surely, other_steps, shown_in
from .block import Block, Repeats
from .call import Call, check_number
from .constants import Constants
from .eagerly import Eagerly
from .fast_path import FAST_PATHS, may_be_fast, without
from .first_look import FirstLook
from .functions import ACTIVATIONS, FunctionCalls, is_activation, name_of, place_of_call
from .interception import intercept, release
from .left_out import LeftOut
from .maps import Maps
from .names import is_leaf, model_names, module_paths, unwrapped, what_there_is
from .place import Frame, Place
from .plain import NotRecordable, check_is_plain
from .selection import Selection, TimeDim
from .steps import Bins, counted, into_bins


def tensor_of(output: Any, layer: str) -> torch.Tensor | PackedSequence:
    """Return the activation in the output of a module: a tensor, or the first tensor of a tuple or dict.

    For an LSTM this is its output sequence (packed, if its input was), for an attention layer its output, for
    a spiking neuron its spikes, for a Hugging Face model its last hidden state.

    Raises
    ------
    TypeError
        If there is no tensor, its numbers are not real, it is nested, or torch.func wraps it.
    ValueError
        If the tensor is on the meta device, where it holds no numbers.

    Examples
    --------
    >>> output, state = torch.ones(2), torch.zeros(1)
    >>> tensor_of((output, state), "lstm")
    tensor([1., 1.])
    """
    found = output
    if isinstance(output, Mapping | Sequence) and not isinstance(output, PackedSequence):
        parts = output.values() if isinstance(output, Mapping) else output
        found = next((part for part in parts if isinstance(part, torch.Tensor | PackedSequence)), output)
    if isinstance(found, PackedSequence):
        return found
    if not isinstance(found, torch.Tensor):
        raise NotRecordable(
            f"layer {layer!r} gives a {type(output).__name__} without a tensor in its first level: "
            "choose a layer inside it, or wrap it in a module that returns the tensor to record"
        )
    check_is_plain(found, layer)
    found = found.detach()
    if found.layout != torch.strided:
        found = found.to_dense()
    if found.is_quantized:
        return found.dequantize()
    wide_integers = not found.is_floating_point() and found.element_size() > 2
    return found.double() if wide_integers else found  # float32 does not hold them all


class _SlowRuns(threading.local):
    """Whose second run of a module with a fused kernel it is, in this thread: others do not look at it."""

    by: Hooks | None = None


_slow_runs = _SlowRuns()


class Hooks:
    """Takes part in the calls of the selected layers of a model; a context manager that leaves no trace.

    Parameters
    ----------
    model : torch.nn.Module
        The model; a forward pass is one call of it. While the hooks are on, compiled parts run as they were
        written, since code that torch.compile made calls no hook.
    selection : Selection
        Which layers and units.
    on_layer : callable
        Called with each firing: (layer, activation, n_steps, n_before). The activation is (n_bins,
        *layer.shape), n_steps (n_stimuli,) are the bins of each stimulus, n_before are the stimuli of all
        passes before. What it returns is kept until the pass is complete. It runs before the next module,
        which may overwrite the tensor.
    on_pass : callable
        Called after each complete forward pass: ({layer: what ``on_layer`` returned}, n_steps, what the
        model returned).

    Examples
    --------
    >>> def on_layer(layer, activation, n_steps, n_before):
    ...     return activation.shape
    >>> def on_pass(of_layers, n_steps, output):
    ...     print({layer.name: shape for layer, shape in of_layers.items()})
    >>> relu = nn.ReLU()
    >>> with Hooks(relu, Selection(), on_layer, on_pass) as hooks:
    ...     _ = relu(torch.zeros(3, 2, 4))
    {'ReLU': torch.Size([3, 2, 4])}
    >>> hooks.n_stimuli
    3
    """

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        on_layer: Callable[[Layer, torch.Tensor, np.ndarray, int], Any],
        on_pass: Callable[[dict[Layer, Any], np.ndarray, Any], None],
    ) -> None:
        self.model, self.selection = unwrapped(model), selection
        self.on_layer, self.on_pass = on_layer, on_pass
        self.layers: dict[str, Layer] = {}
        self.n_stimuli = 0
        self.was_called = False
        self._modules = self._without_script(selection.modules(self.model))
        self._chosen = {id(module): name for name, module in self._modules.items()}
        self._names_of: dict[int, tuple[str, ...]] = {}
        for name, module in model_names(self.model, aliases=True).items():
            self._names_of[id(module)] = (*self._names_of.get(id(module), ()), name)
        self._names: dict[tuple[str, int], str] = {}
        self._watches_functions = selection.watches_functions(self.model)
        self._watches_all_functions = selection.names_functions(self.model)
        self._while_on = ExitStack()
        self._is_on = False
        # a pass belongs to one thread; others that call the model wait
        self._turn = threading.RLock()
        self._mode = FunctionCalls(self._function_called)
        self._shown: torch.Tensor | None = None
        self._may_be: frozenset[int] = frozenset()
        self._complete_passes = 0
        self._block: Block | None = None
        self._repeats, self._to_warn_of = Repeats(), {"repeats", "padding"}
        self._forget_pass()

    def _without_script(self, modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
        """Leave TorchScript out, in which nothing is called from Python, and say so."""
        if _is_script(self.model):
            raise TypeError(
                f"the model is a {type(self.model).__name__}: TorchScript calls no hooks inside. "
                "Give the module it was made from"
            )
        chosen = [name for name, module in modules.items() if _is_script(module)]
        named = [name for name in chosen if self.selection.names(name)]
        if named:
            raise TypeError(f"layer {named[0]!r} is TorchScript: put in the module it was made from")
        script = [path for path, module in module_paths(self.model).items() if _is_script(module)]
        if script and (chosen or self.selection.layers is None):
            warnings.warn(
                "not recorded, because they are TorchScript, in which nothing is called from Python: "
                f"{script}. To record them, put in the modules they were made from",
                stacklevel=4,
            )
        return {name: module for name, module in modules.items() if not _is_script(module)}

    def __enter__(self) -> Hooks:
        if self._is_on:
            raise RuntimeError("this probe is already on: make another one for a loop within its loop")
        self._is_on = True
        try:
            self._put_on()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _put_on(self) -> None:
        eagerly = Eagerly()
        self._undo_by(eagerly.__exit__)
        eagerly.__enter__()
        for path, module in module_paths(self.model).items():
            place = self._place(path, module)
            if module is self.model:
                self._take_part(module, partial(self._in_module, place))
                self._take_part(module, self._in_model)
            elif not _is_script(module) and self._has_part_in(place):
                self._take_part(module, partial(self._in_module, place))

    def _take_part(self, module: nn.Module, around: Callable[..., Any]) -> None:
        self._undo_by(release, module, around)
        intercept(module, around)

    def _undo_by(self, undo: Callable[..., Any], *args: Any) -> None:
        """Note how to undo what comes next; twice, so that Ctrl-C in the first time leaves nothing behind."""
        for _ in range(2):
            self._while_on.callback(undo, *args)

    def _place(self, path: str, module: nn.Module) -> Place:
        of_torch = _is_of_torch(module)  # what these call is what they give
        name = self._chosen.get(id(module))
        by_hand = self.selection.layers is None and name is None and _may_be_activation(module)
        return Place(
            module,
            name,
            None if of_torch else path,
            path or type(module).__name__ if by_hand else None,
            name is not None and is_leaf(module),
            is_leaf(module),
        )

    def _has_part_in(self, place: Place) -> bool:
        if place.name is not None or isinstance(place.module, FAST_PATHS):
            return True
        calls_none = place.path is None and not isinstance(place.module, ACTIVATIONS)
        return self._watches_functions and (self._watches_all_functions or not calls_none)

    def __exit__(self, *exception: object) -> None:
        with self._turn:
            self._is_on = False
            self._forget_pass()  # somebody may end it within one
            self._while_on.close()

    def announce(self, shown: torch.Tensor | None) -> None:
        """Say which steps of the stimuli in the next forward pass are bins: see :func:`into_bins`."""
        if shown is not None and self.selection.time_dim is None:
            raise ValueError(
                "lengths= or a mask was given, but no time_dim=: give the dimension of the layers' outputs "
                "that holds the steps"
            )
        self._shown = shown

    def expect(self, may_be: frozenset[int]) -> None:
        """Say how many stimuli there may be in the next forward pass, where its arguments need not tell."""
        self._may_be = may_be

    @property
    def is_on(self) -> bool:
        """Whether the model has these hooks."""
        return self._is_on

    @property
    def is_in_block(self) -> bool:
        """Whether the passes are steps of the same stimuli."""
        return self._block is not None

    @contextmanager
    def stimulus(self) -> Iterator[None]:
        """Take all passes within for steps of the same stimuli."""
        if not self._is_on:
            raise RuntimeError("the probe is off: enter it first, and then the block of a stimulus")
        if self._block is not None:
            raise RuntimeError("this is within the block of a stimulus already: leave that one first")
        before, self._block = self._complete_passes, Block()
        try:
            yield
            self._complete_block(self._block, before)
        except BaseException:
            self._complete_passes = before
            raise
        finally:
            self._block = None

    def _complete_block(self, block: Block, before: int) -> None:
        if block.has_failed:
            self._complete_passes = before
            warnings.warn(
                "a forward pass in the block of a stimulus failed, so its stimuli are not recorded",
                stacklevel=4,
            )
        elif len(n_steps := block.n_steps):
            n_before = self.n_stimuli
            taken = {
                layer: self.on_layer(layer, activation, n_steps, n_before)
                for layer, activation in block.layers()
            }
            self.on_pass(taken, n_steps, None)
            self.n_stimuli += len(n_steps)

    # -- a forward pass ------------------------------------------------------------------------------

    def _forget_pass(self) -> None:
        if not self._complete_passes:  # nothing is left of a first pass that failed
            self.layers.clear()
            self._names.clear()
            self._left_out = LeftOut()
            self._films: dict[str, str] = {}
            self._is_by_hand: dict[str, bool] = {}
            self._places_of_calls: dict[str, Any] = {}
        self._results: dict[Layer, Any] = {}
        self._n_firings: dict[str, int] = {}
        self._called: dict[str, tuple[tuple[str, ...], list[torch.Tensor]]] = {}
        self._path: list[Frame] = []
        self._held: list[Fired] = []
        self._bins: Bins | None = None
        self._look: FirstLook | None = None
        self._n_shown_before = 0
        self._n_steps: np.ndarray | None = None
        self._call = Call()
        self._constants: Constants | None = None
        self._thread: int | None = None
        self._is_fast = False

    def _in_model(self, call: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if torch._C._current_graph_task_id() != -1:
            return call()  # a backward pass computes it again, as checkpointing of activations does
        with self._turn:
            if self._thread is not None:
                raise ValueError(
                    f"{type(self.model).__name__} calls itself within its own forward pass, so one stimulus "
                    "is shown to it several times: record a module around it, which is called once for each "
                    "batch, or a part of it"
                )
            try:
                with torch._C.DisableTorchFunction():
                    self._begin_pass(args, kwargs)
                with ExitStack() as looking:
                    if self._mode_is_on:
                        looking.enter_context(self._mode)
                    if not self._complete_passes:
                        self._look_at_modules(looking, args)
                        self._maps = looking.enter_context(Maps())
                    output = call()
                    if self._thread is not None:
                        with torch._C.DisableTorchFunction():
                            self._end_pass(output)
                return output
            finally:
                self._forget_pass()

    def _begin_pass(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._call = Call(self.model, args, kwargs, self.selection.has_steps_first)
        self._thread, self.was_called = threading.get_ident(), True
        if self._block is not None:
            self._n_shown_before = self._block.begin(self._call if self.selection.has_steps else None)
        if not self._complete_passes:
            self._constants = Constants(self.model, self._call.tensors)
        self._mode_is_on = self._watches_functions or self._constants is not None

    def _end_pass(self, output: Any) -> None:
        fired = [Fired(name, *called, 1, True) for name, called in self._called_in_steps()]
        if self._holds:
            fired = self._with_stimuli(self._held + fired)
        for each in fired:
            self._receive(each)
        self._check_what_fired()
        assert self._n_steps is not None
        check_number(len(self._n_steps), self._may_be or self._call.n_stimuli)
        self._warn_of_doubts()
        if len(self._n_steps):
            self._complete_passes += 1
            if self._block is not None:
                self._block.add(self._results, self._n_steps)
            else:
                self.on_pass(self._results, self._n_steps, output)
                self.n_stimuli += len(self._n_steps)
        self._shown, self._may_be = None, frozenset()

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
            warnings.warn(
                "the attention_mask marks some steps as padding, but their activations count as activity: a "
                "stimulus is one bin, and its steps are units. Give time_dim= (1, if the layers give "
                "(stimuli, steps, units)): then each step is a bin, and padding is left out",
                stacklevel=2,
            )
        # stimuli that are shown by record or summarize are no loop
        is_loop = self._block is None and not self._may_be
        if "repeats" in self._to_warn_of and is_loop and self._repeats.are_seen(self.model, self._call.given):
            self._to_warn_of.remove("repeats")
            warnings.warn(
                "the same batch was shown three times in a row, and each time its stimuli count as new ones. "
                "If these passes are steps of the same stimuli, put them in a block, "
                "'with probe.stimulus():'. Then each pass is a step",
                stacklevel=2,
            )

    # -- the first pass ------------------------------------------------------------------------------

    @property
    def _holds(self) -> bool:
        """Whether what fires waits for the end of the pass, which shows what the steps of the stimuli are."""
        return not self._complete_passes and self.selection.time_dim is not None

    def _look_at_modules(self, while_on: ExitStack, args: tuple[Any, ...]) -> None:
        self._look = look = FirstLook(self._call, looks_for_films=self.selection.time_dim is not None)
        look.before(type(self.model).__name__, self.model, args)
        for path, module in look.modules(self.model).items():
            around = partial(look.around, path, module)
            while_on.callback(release, module, around)
            intercept(module, around)

    def _with_stimuli(self, fired: list[Fired]) -> list[Fired]:
        """Return what has the steps of the stimuli; warn of the rest, which is left out from now on."""
        assert self._look is not None
        self._films = self._look.films(fired)
        fired = [self._unflattened(each) for each in fired]
        may_be = self._may_be or self._call.n_stimuli
        out = other_steps(fired, self.selection, self._call, self._shown, may_be, self._bins)
        for name, shape in out.items():
            self._left_out.add(name, "they have other steps than the stimuli", shape)
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

    # -- modules -------------------------------------------------------------------------------------

    def _in_module(
        self, place: Place, call: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._thread != threading.get_ident() or self._is_blind:
            return call()  # not in a pass, or in that of another model that has this module, too
        path = self._path
        frame = Frame(place, path[-1] if path else None)
        path.append(frame)
        try:
            if may_be_fast(place.module) and _slow_runs.by is not self:
                output = self._as_without_a_probe(place, call, args, kwargs)
            else:
                output = call()
        finally:
            while path and path.pop() is not frame:
                pass
        if self._thread is None:  # the probe was ended inside
            return output
        with torch._C.DisableTorchFunction():  # another probe that is on does not see what this one does
            if frame.candidate is frame:
                self._activation_by_hand(frame, args, kwargs, output)
            if place.name is not None:
                self._module_called(place, output)
        return output

    @property
    def _is_blind(self) -> bool:
        """Whether what runs is to be seen in another run of it, or is the run of another probe."""
        return self._is_fast or _slow_runs.by not in (None, self)

    def _as_without_a_probe(
        self, place: Place, call: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a module that has a fused kernel as it is, and look inside in a second, slow run of it."""
        self._is_fast = True
        try:
            with without(self._mode):
                output = call()
        finally:
            self._is_fast = False
        if self._thread is not None and self._looks_inside(place):
            _slow_runs.by = self
            try:
                # a function mode that is on keeps torch from using the fused kernel
                with nullcontext() if self._mode_is_on else self._mode:
                    place.module.forward(*args, **kwargs)
            finally:
                _slow_runs.by = None
        return output

    def _looks_inside(self, place: Place) -> bool:
        inside = set(map(id, place.module.modules())) - {id(place.module)}
        if any(id(module) in inside for module in self._modules.values()):
            return True
        return self._watches_functions and (
            self._watches_all_functions or not isinstance(place.module, nn.MultiheadAttention)
        )

    def _module_called(self, place: Place, output: Any) -> None:
        """Take what a chosen module gave."""
        assert place.name is not None
        module, module_name = place.module, place.name
        n_before = self._n_firings.get(module_name, 0)
        self._n_firings[module_name] = n_before + 1
        modules = self._names_of[id(module)]
        time_dim = self.selection.time_dim_of(module_name, *modules)
        name = module_name if time_dim == "calls" else self._name_of(module_name, n_before)
        if not self.selection.wants(name, modules, module):
            return
        time_dim = self.selection.time_dim_of(name, *modules)
        if isinstance(module, nn.RNNBase) and not module.batch_first and time_dim is None:
            _check_is_packed(name, module, output)
        self._offer(name, modules, output, time_dim, self._path[-1] if self._path else None)

    def _activation_by_hand(
        self, frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Take what a module gave that is an activation itself, in place of what it computed it from.

        Whether it is one is decided when it is called first.
        """
        name = frame.place.by_hand
        assert name is not None
        if name not in self._is_by_hand:
            if not frame.held:
                return
            self._is_by_hand[name] = _is_like_its_input(frame, args, kwargs, output)
            if not self._is_by_hand[name]:
                for fire in frame.held:
                    fire()
                return
        if self._is_by_hand[name] and frame.has_fired:
            modules = self._names_of[id(frame.place.module)]
            n_before = self._n_firings.get(name, 0)
            self._n_firings[name] = n_before + 1
            time_dim = self.selection.time_dim_of(name, *modules)
            name = name if time_dim == "calls" else self._name_of(name, n_before)
            self._offer(name, modules, output, self.selection.time_dim_of(name, *modules), None)

    def _name_of(self, stem: str, n_before: int, is_function: bool = False) -> str:
        """Name the n-th firing of a place in a pass: relu, relu_1, … past names of other places."""
        key = (stem, n_before)
        if key not in self._names:
            taken = {name for names in self._names_of.values() for name in names} | set(self._names.values())
            name, number = stem, n_before
            while (number or is_function) and (name := f"{stem}_{number}" if number else stem) in taken:
                number += 1
            self._names[key] = name
        return self._names[key]

    # -- functions -----------------------------------------------------------------------------------

    def _function_called(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor
    ) -> None:
        if self._is_blind:
            return
        if self._constants is not None:
            self._constants.called(function, args, kwargs, output)
        is_attribute = name_of(function) in ("get", "set")
        if is_attribute or not self._watches_functions or not isinstance(output, torch.Tensor):
            return
        if not self._watches_all_functions and not is_activation(function, args, kwargs):
            return
        name = self._function_name(function)
        if name is None:
            return
        if not self.selection.names(name):
            if self._path[-1].is_within or not is_activation(function, args, kwargs):
                return
            if not self.selection.wants_activation(name):
                return
            if self._constants is not None and self._constants.hold(output):
                self._left_out.add(name)  # no activation of anything
        time_dim = self.selection.time_dim_of(name)
        if time_dim != "calls":
            self._check_place_of_call(name)
        self._offer(name, (), output, time_dim, self._path[-1])

    def _function_name(self, function: Any) -> str | None:
        """Name a call where it is made, or return None where it is not to be seen."""
        if not self._path or self._path[-1].place.path is None:
            return None
        path = self._path[-1].place.path
        stem = f"{path}.{name_of(function)}" if path else name_of(function)
        n_before = self._n_firings.get(stem, 0)
        self._n_firings[stem] = n_before + 1
        if self.selection.time_dim_of(stem) == "calls":
            return stem
        return self._name_of(stem, n_before, is_function=True)

    def _check_place_of_call(self, name: str) -> None:
        """Check that a function is called where it was called in the first pass."""
        where = place_of_call()
        if self._places_of_calls.setdefault(name, where) != where:
            raise ValueError(
                f"layer {name!r} is not called where it was called in the first forward pass: the model "
                "takes another branch, and the two must not be mixed. Make modules of the functions in the "
                "branches, which have names of their own, and give as layers= those that fire for every "
                "stimulus, or record the stimuli of each branch separately"
            )

    # -- what fires ----------------------------------------------------------------------------------

    def _offer(
        self, name: str, modules: tuple[str, ...], output: Any, time_dim: TimeDim, frame: Frame | None
    ) -> None:
        """Take what fired, unless it is part of an activation, or is no layer."""
        if name in self._left_out:
            return
        candidate = None if frame is None else frame.candidate
        if candidate is not None and candidate.place.by_hand is not None:
            candidate.has_fired = True
            is_by_hand = self._is_by_hand.get(candidate.place.by_hand)
            if is_by_hand is None:
                kept = output.clone() if isinstance(output, torch.Tensor) else output
                candidate.outputs.append(output)
                candidate.held.append(partial(self._offer, name, modules, kept, time_dim, None))
                return
            if is_by_hand:
                return
        if not self._complete_passes:
            reason = self._why_not(name, output, time_dim)
            if reason and not self.selection.names(name, *modules):
                self._left_out.add(name, reason, output)
                return
        self._fire(name, modules, output, time_dim)

    def _why_not(self, name: str, output: Any, time_dim: TimeDim) -> str:
        """Return the reason why what fired in the first pass is no layer, if there is one."""
        try:
            found = tensor_of(output, name)
        except NotRecordable:
            return "they give no tensor of real numbers"
        if not isinstance(found, torch.Tensor):
            return ""
        if self._constants is not None and self._constants.hold(found):
            return "they do not depend on the stimuli"
        if self._holds or self._call.nodes is not None:
            return ""  # other steps are looked at in the end of the pass
        numbers = self._may_be or self._call.n_stimuli
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
        if self._complete_passes or any(self.selection.names(each) for each in (name, *modules)):
            raise ValueError(
                f"layer {name!r} gives shape {tuple(output.shape)} for {n_nodes} nodes: choose layers that "
                "give one activation for each node"
            )
        self._left_out.add(name, "their first dimension is not the nodes of the graphs", output)
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
        return self._maps.channel_dim(activation)

    def _check_what_fired(self) -> None:
        way_out = (
            "Hooks see modules and functions that are called from Python. They do not see branches that are "
            "used in training only, nor the inside of TorchScript or of compiled code. "
            "ann2neo.layers(model, stimuli) lists what can be recorded"
        )
        missing = self.selection.unmet(self.layers.values())
        if missing or not self._results:
            lacking = missing or list(self._modules) or "of an activation, module or function,"
            there_is = what_there_is(model_names(self.model, aliases=True))
            if self._left_out:
                why = f"not recorded: {self._left_out}. "
                if self._left_out.n_first is not None:
                    check_number(self._left_out.n_first, self._may_be or self._call.n_stimuli, why)
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
        silent = [name for name in self._modules if name not in self._n_firings]
        if silent:
            warnings.warn(f"not recorded, because they did not fire: {silent}. {way_out}", stacklevel=2)
        if self._left_out:
            warnings.warn(f"not recorded: {self._left_out}", stacklevel=2)


def _is_of_torch(module: nn.Module) -> bool:
    """Tell whether a module is one of torch's own, without others in it."""
    return type(module).__module__.startswith("torch.nn") and is_leaf(module)


def _is_script(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _may_be_activation(module: nn.Module) -> bool:
    """Tell whether a module may be an activation written by hand: it has no weights and no other modules."""
    if type(module).__module__.startswith("torch.") or isinstance(module, nn.ModuleList | nn.ModuleDict):
        return False
    if any(sum(size > 1 for size in parameter.shape) > 1 for parameter in module.parameters()):
        return False  # a matrix
    within = list(module.modules())[1:]
    return all(isinstance(each, ACTIVATIONS) or _may_be_activation(each) for each in within)


def _is_like_its_input(frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> bool:
    """Tell whether a module gives the shape it was given, and does not only pass on what fired inside."""
    given = next((each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)), None)
    if given is None or not isinstance(output, torch.Tensor) or output.shape != given.shape:
        return False
    return frame.place.is_leaf or all(output is not each for each in frame.outputs)


def _copied(output: torch.Tensor | PackedSequence) -> torch.Tensor | PackedSequence:
    """Copy what the next module may overwrite."""
    if isinstance(output, PackedSequence):
        return output._replace(data=output.data.clone())
    return output.clone()


def _check_is_packed(layer: str, module: nn.RNNBase, output: Any) -> None:
    if not isinstance(tensor_of(output, layer), PackedSequence):
        raise ValueError(
            f"layer {layer!r} is a {type(module).__name__} with batch_first=False, its output is (steps, "
            "stimuli, units): give time_dim=0, which makes each step of a stimulus a bin"
        )
