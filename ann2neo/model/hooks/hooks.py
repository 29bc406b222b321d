"""Forward hooks on a live model: what each selected place gives in one pass."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ...recording.by_layer import check_keys
from ...recording.units import Layer
from .agreement import Fired, fits_surely, left_out, shown_in
from .block import Block, Repeats
from .call import PAD_IT, Call, check_number
from .first_look import FirstLook
from .functions import ACTIVATIONS, FunctionCalls, is_activation, name_of
from .names import gives_spikes, model_names, module_paths, unwrapped, what_there_is
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
        raise TypeError(
            f"layer {layer!r} gives a {type(output).__name__} without a tensor in its first level: "
            "choose a layer inside it, or wrap it in a module that returns the tensor to record"
        )
    if torch._C._functorch.is_functorch_wrapped_tensor(found):
        raise TypeError(
            f"layer {layer!r} runs within a transform of torch.func (vmap, grad, jacrev, ...), where its "
            "activations cannot be read: leave the probe before the transform, or call the model without it"
        )
    if found.is_nested:
        raise TypeError(f"layer {layer!r} gives a nested tensor: {PAD_IT}")
    if found.layout != torch.strided:
        found = found.to_dense()
    if found.is_complex():
        raise TypeError(
            f"layer {layer!r} gives complex numbers, which cannot exceed a threshold: choose another layer"
        )
    if found.device.type == "meta":
        raise ValueError(
            f"layer {layer!r} is on the meta device, where tensors hold no numbers: load the model's weights "
            "and move it to a real device first, say with model.to_empty(device='cpu') and load_state_dict"
        )
    found = found.detach()
    if found.is_quantized:
        return found.dequantize()
    wide_integers = not found.is_floating_point() and found.element_size() > 2
    return found.double() if wide_integers else found  # float32 does not hold them all


class Hooks:
    """Forward hooks on the selected layers of a model, as a context manager that leaves no trace.

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
        self._is_compiled = any(_is_compiled(module) for module in model.modules())
        self._modules = selection.modules(self.model)
        self._check_script()
        self._names_of: dict[int, tuple[str, ...]] = {}
        for name, module in model_names(self.model, aliases=True).items():
            self._names_of[id(module)] = (*self._names_of.get(id(module), ()), name)
        self._names: dict[tuple[str, int], str] = {}
        self._has_steps_first = selection.has_steps_first
        self._watches_functions = selection.watches_functions(self.model)
        self._watches_all_functions = selection.names_functions(self.model)
        self._while_on = ExitStack()
        self._is_on = False
        # a pass belongs to one thread; others that call the model wait
        self._turn = threading.RLock()
        self._pass = ExitStack()
        self._watch = FunctionCalls(self._function_called)
        self._shown: torch.Tensor | None = None
        self._may_be: frozenset[int] = frozenset()
        self._complete_passes = 0
        self._left_out: set[str] = set()
        self._films: dict[str, str] = {}
        self._block: Block | None = None
        self._repeats, self._to_warn_of = Repeats(), {"repeats", "padding"}
        self._forget_pass()

    def _check_script(self) -> None:
        """Leave TorchScript modules out, which take no hooks, and say so."""
        if _is_script(self.model):
            raise TypeError(
                f"the model is a {type(self.model).__name__}: TorchScript calls no hooks inside. "
                "Give the module it was made from"
            )
        script = [path for path, module in module_paths(self.model).items() if _is_script(module)]
        if script:
            self._modules = {name: m for name, m in self._modules.items() if not _is_script(m)}
            warnings.warn(
                f"not recorded, because they are TorchScript, which takes no hooks: {script}. "
                "To record them, put in the modules they were made from",
                stacklevel=3,
            )

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
        if self._is_compiled:
            self._while_on.enter_context(torch.compiler.set_stance("force_eager"))
        hook = self.model.register_forward_pre_hook
        self._until_off(hook(self._begin_pass, with_kwargs=True))
        if self._watches_functions:
            for path, module in module_paths(self.model).items():
                calls_none = _is_of_torch(module) and not isinstance(module, ACTIVATIONS)
                if _is_script(module) or (calls_none and not self._watches_all_functions):
                    continue
                self._until_off(module.register_forward_pre_hook(self._entering(path, module)))
                self._until_off(module.register_forward_hook(self._leaving, always_call=True))
        for name, module in self._modules.items():
            self._until_off(module.register_forward_hook(self._firing(name)))
        self._until_off(self.model.register_forward_hook(self._end_pass))
        # after a pass that failed, too
        self._until_off(self.model.register_forward_hook(self._close_pass, always_call=True))

    def _until_off(self, handle: Any) -> None:
        self._while_on.callback(handle.remove)

    def __exit__(self, *exception: object) -> None:
        with self._turn:
            self._pass.close()  # Ctrl-C in a pass runs no hook
            self._while_on.close()
            self._is_on = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Hooks:
        return self  # a copy of the model has these hooks, too, but is not the one to look at

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
            self._left_out.clear()
            self._films.clear()
        self._results: dict[Layer, Any] = {}
        self._n_firings: dict[str, int] = {}
        self._called: dict[str, tuple[tuple[str, ...], list[torch.Tensor]]] = {}
        self._skipped: dict[str, tuple[int, ...]] = {}
        self._path: list[tuple[nn.Module, str | None, bool]] = []
        self._held: list[Fired] = []
        self._bins: Bins | None = None
        self._look: FirstLook | None = None
        self._n_shown_before = 0
        self._n_steps: np.ndarray | None = None
        self._batch: tuple[int, ...] | None = None
        self._call = Call()
        self._in_pass = self._is_busy = False

    def _begin_pass(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if model is not self.model:
            return
        self._turn.acquire()
        self._pass.close()  # one that Ctrl-C ended
        self._pass.callback(self._turn.release)
        self._forget_pass()
        self._in_pass = True
        self._pass.callback(self._forget_pass)
        self._call = Call(self.model, args, kwargs, self._has_steps_first)
        if self._block is not None:
            self._n_shown_before = self._block.begin(self._call if self.selection.has_steps else None)
        if not self._complete_passes:
            self._look_at_modules(args)
        given = self._call.given
        self._batch = None if given is None else tuple(given.shape[:2])
        if self._watches_functions:
            self._pass.enter_context(self._watch)

    def _close_pass(self, model: nn.Module, args: Any, output: Any) -> None:
        if model is self.model:
            self._pass.close()

    def _end_pass(self, model: nn.Module, args: Any, output: Any) -> None:
        if model is not self.model or not self._in_pass:
            return
        self._is_busy = True
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

    def _look_at_modules(self, args: tuple[Any, ...]) -> None:
        self._look = first_look = FirstLook(self._call, looks_for_films=self.selection.time_dim is not None)

        first_look.before(type(self.model).__name__, self.model, args)

        def before(path: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: Any) -> None:
                was_busy, self._is_busy = self._is_busy, True
                first_look.before(path, module, args)
                self._is_busy = was_busy

            return hook

        def after(path: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                first_look.after(path, module, args, output)

            return hook

        for path, module in first_look.modules(self.model).items():
            self._pass.callback(module.register_forward_pre_hook(before(path)).remove)
            self._pass.callback(module.register_forward_hook(after(path)).remove)

    def _with_stimuli(self, fired: list[Fired]) -> list[Fired]:
        """Return what has the steps of the stimuli; warn of the rest, which is left out from now on."""
        assert self._look is not None
        self._films = self._look.films(fired)
        fired = [self._unflattened(each) for each in fired]
        may_be = self._may_be or self._call.n_stimuli
        out = left_out(fired, self.selection, self._call, self._shown, may_be, self._bins)
        if out:
            self._left_out = set(out)
            warnings.warn(
                f"not recorded, because they have other steps than the stimuli: {out}. Record them "
                "separately, or give time_dim= as a dict by layer",
                stacklevel=2,
            )
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

    def _firing(self, module_name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if getattr(module, "_is_replica", False):
                raise RuntimeError(
                    f"layer {module_name!r} runs in a copy that DataParallel made on another GPU, all at "
                    "once: give the probe and its loop the model itself (model.module), or use "
                    "DistributedDataParallel"
                )
            if module is not self._modules[module_name] or not self._in_pass or self._is_busy:
                return  # a copy, or another model that has this module, too
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
            self._fire(name, modules, output, time_dim)

        return hook

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

    def _entering(self, path: str, module: nn.Module) -> Callable[..., None]:
        of_torch = _is_of_torch(module)  # what these call is what they give
        chosen = any(module is each for each in self._modules.values())
        is_place = chosen and (next(module.children(), None) is None or gives_spikes(module))

        def hook(entered: nn.Module, args: Any) -> None:
            if entered is not module or not self._in_pass:
                return
            within = is_place or (bool(self._path) and self._path[-1][2])
            self._path.append((module, None if of_torch else path, within))

        return hook

    def _leaving(self, module: nn.Module, args: Any, output: Any) -> None:
        if any(entered is module for entered, *_ in self._path):
            while self._path.pop()[0] is not module:
                pass

    def _function_called(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor
    ) -> None:
        if not self._watches_all_functions and not is_activation(function, args, kwargs):
            return
        name = self._function_name(function)
        if name is None:
            return
        if not self.selection.names(name):
            within_place = self._path[-1][2]
            if within_place or not is_activation(function, args, kwargs):
                return
            if not self.selection.wants_activation(name):
                return
            if self._batch is not None and (not output.ndim or output.shape[0] not in self._batch):
                self._skipped[name] = tuple(output.shape)
                return
        self._fire(name, (), output, self.selection.time_dim_of(name))

    def _function_name(self, function: Any) -> str | None:
        """Name a call where it is made, or return None where it is not to be seen."""
        if self._is_busy or not self._path or self._path[-1][1] is None:
            return None
        path = self._path[-1][1]
        stem = f"{path}.{name_of(function)}" if path else name_of(function)
        n_before = self._n_firings.get(stem, 0)
        self._n_firings[stem] = n_before + 1
        if self.selection.time_dim_of(stem) == "calls":
            return stem
        return self._name_of(stem, n_before, is_function=True)

    # -- what fires ----------------------------------------------------------------------------------

    def _fire(self, name: str, modules: tuple[str, ...], output: Any, time_dim: TimeDim) -> None:
        if name in self._left_out:
            return
        self._is_busy = True
        found = tensor_of(output, name)
        if self._call.nodes is not None and not self._is_of_nodes(name, modules, found, time_dim):
            self._is_busy = False
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
        self._is_busy = False

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
        self._left_out.add(name)
        self._skipped[name] = tuple(output.shape)
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
            layer = Layer(name, modules, shape, self.selection.units_of((name, *modules), shape))
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
        silent = [name for name in self._modules if name not in self._n_firings]
        if silent:
            warnings.warn(f"not recorded, because they did not fire: {silent}. {way_out}", stacklevel=2)
        if self._skipped:
            warnings.warn(
                f"not recorded, because their first dimension is not the batch: {self._skipped}",
                stacklevel=2,
            )


def _is_of_torch(module: nn.Module) -> bool:
    """Tell whether a module is one of torch's own, without others in it."""
    return type(module).__module__.startswith("torch.nn") and next(module.children(), None) is None


def _is_script(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


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
