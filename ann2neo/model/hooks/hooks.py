"""A part in the calls of a live model: what each selected place gives in one pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ...recording.caller import warn_caller
from ...recording.units import Layer
from .firings import Firings
from .names import is_leaf, model_names, module_paths, unwrapped
from .place import Frame, Place
from .plain import tensor_of
from .selection import Selection, TimeDim
from .watching.eagerly import Eagerly
from .watching.fast_path import FAST_PATHS, may_be_fast, without
from .watching.functions import ACTIVATIONS, PRODUCTS, FunctionCalls, is_activation, name_of, place_of_call
from .watching.interception import intercept, is_intercepted, release


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

    make_firings: type[Firings] = Firings

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        on_layer: Callable[[Layer, torch.Tensor, np.ndarray, int], Any],
        on_pass: Callable[[dict[Layer, Any], np.ndarray, Any], None],
    ) -> None:
        self.model, self.selection = unwrapped(model), selection
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
        self._firings = self.make_firings(self.model, selection, list(self._modules), on_layer, on_pass)
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
            warn_caller(
                "not recorded, because they are TorchScript, in which nothing is called from Python: "
                f"{script}. To record them, put in the modules they were made from"
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
        if self._is_on and exception[:1] == (None,) and not is_intercepted(self.model):
            warn_caller(
                f"{type(self.model).__name__}.compile() was called while the probe was on, so passes after "
                "it are not recorded: compile the model before"
            )
        with self._turn:
            self._is_on = False
            self._forget_pass()  # somebody may end it within one
            self._while_on.close()

    def announce(self, shown: torch.Tensor | None) -> None:
        """Say which steps of the stimuli in the next forward pass are bins: see :func:`into_bins`."""
        self._firings.announce(shown)

    def expect(self, may_be: frozenset[int]) -> None:
        """Say how many stimuli there may be in the next forward pass, where its arguments need not tell."""
        self._firings.may_be = may_be

    @property
    def layers(self) -> dict[str, Layer]:
        """What was recorded so far, by name."""
        return self._firings.layers

    @property
    def n_stimuli(self) -> int:
        """The stimuli of all complete passes."""
        return self._firings.n_stimuli

    @property
    def is_on(self) -> bool:
        """Whether the model has these hooks."""
        return self._is_on

    @property
    def is_in_block(self) -> bool:
        """Whether the passes are steps of the same stimuli."""
        return self._firings.is_in_block

    def stimulus(self) -> AbstractContextManager[None]:
        """Take all passes within for steps of the same stimuli."""
        if not self._is_on:
            raise RuntimeError("the probe is off: enter it first, and then the block of a stimulus")
        return self._firings.stimulus()

    # -- a forward pass ------------------------------------------------------------------------------

    def _forget_pass(self) -> None:
        if self._firings.is_first:  # nothing is left of a first pass that failed
            self._names.clear()
            self._taken = {name for names in self._names_of.values() for name in names}
            self._is_by_hand: dict[str, bool] = {}
            self._places_of_calls: dict[str, Any] = {}
        self._firings.forget_pass()
        self._n_firings: dict[str, int] = {}
        self._path: list[Frame] = []
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
                self._forget_pass()  # what a block of passes that failed has left
                self._thread, self.was_called = threading.get_ident(), True
                with torch._C.DisableTorchFunction():
                    self._firings.begin(args, kwargs)
                # all torch functions are followed in the first pass, which tells what depends on the stimuli
                self._mode_is_on = self._watches_functions or self._firings.constants is not None
                with self._firings.first_look(args), self._mode if self._mode_is_on else nullcontext():
                    output = call()
                    if self._thread is not None:
                        with torch._C.DisableTorchFunction():
                            self._end_pass(output)
                return output
            finally:
                self._forget_pass()

    def _end_pass(self, output: Any) -> None:
        self._firings.end(output, [name for name in self._modules if name not in self._n_firings])

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
            taken = self._taken
            name, number = stem, n_before
            while (number or is_function) and (name := f"{stem}_{number}" if number else stem) in taken:
                number += 1
            self._names[key] = name
            taken.add(name)
        return self._names[key]

    # -- functions -----------------------------------------------------------------------------------

    def _function_called(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor
    ) -> None:
        if self._is_blind:
            return
        constants = self._firings.constants
        if constants is not None:
            constants.called(function, args, kwargs, output)
            candidate = self._path[-1].candidate if self._path else None
            if candidate is not None and name_of(function) in PRODUCTS:
                candidate.has_product = True
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
            if constants is not None and constants.hold(output):
                self._firings.leave_out_constant(name, output)
                return
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
        if name in self._firings.left_out:
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
        self._firings.offer(name, modules, output, time_dim)


def _is_of_torch(module: nn.Module) -> bool:
    """Tell whether a module is one of torch's own, without others in it."""
    return type(module).__module__.startswith("torch.nn") and is_leaf(module)


def _is_script(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _may_be_activation(module: nn.Module) -> bool:
    """Tell whether a module may be an activation written by hand: it has no weights and no other modules."""
    if type(module).__module__.startswith("torch.") or isinstance(module, nn.ModuleList | nn.ModuleDict):
        return False
    if any(sum(size > 1 for size in each.shape) > 1 for each in (*module.parameters(), *module.buffers())):
        return False  # a matrix
    within = list(module.modules())[1:]
    return all(isinstance(each, ACTIVATIONS) or _may_be_activation(each) for each in within)


def _is_like_its_input(frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> bool:
    """Tell whether a module gives the shape it was given, and is not a block in which activations fired.

    An activation works on each unit alone: all that fired inside has this shape, and there was no product.
    """
    given = next((each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)), None)
    if given is None or not isinstance(output, torch.Tensor) or output.shape != given.shape:
        return False
    inside = [each for each in frame.outputs if isinstance(each, torch.Tensor)]
    if frame.has_product or any(each.shape != given.shape for each in inside):
        return False
    return frame.place.is_leaf or (len(inside) == 1 and output is not inside[0])


def _check_is_packed(layer: str, module: nn.RNNBase, output: Any) -> None:
    if not isinstance(tensor_of(output, layer), PackedSequence):
        raise ValueError(
            f"layer {layer!r} is a {type(module).__name__} with batch_first=False, its output is (steps, "
            "stimuli, units): give time_dim=0, which makes each step of a stimulus a bin"
        )
