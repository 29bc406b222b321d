"""What operations make of the dimensions of feature maps: channels, rows, columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch

Axis = tuple[tuple[str, int], ...]
"""What a dimension is made of, slowest first: "c", "y", "x" or "" (anything else), and its length."""

Axes = tuple[Axis, ...]
"""One for each dimension of a tensor."""

Rule = Callable[[list[Axes], torch.Tensor, Sequence[Any]], Axes | None]
"""From what is known of an operation's tensors, from one of its outputs and its arguments to what that is."""


def unknown(tensor: torch.Tensor) -> Axes:
    """Return what dimensions are of which nothing is known."""
    return tuple((("", n),) for n in tensor.shape)


def name_of_axis(axis: Axis) -> str:
    """Name a dimension. Parts of channels are channels, but parts of rows are not rows."""
    names = {name for name, _ in axis}
    return names.pop() if len(axis) == 1 or names == {"c"} else ""


def _length(axis: Axis) -> int:
    return int(torch.Size(n for _, n in axis).numel())


def _with_length(axis: Axis, length: int) -> Axis:
    return axis if _length(axis) == length else ((name_of_axis(axis), length),)


def _agreed(axes: Sequence[Axis], length: int) -> Axis:
    """Return what those of these are that are known, if they agree."""
    known = {axis for axis in axes if _length(axis) == length and any(name for name, _ in axis)}
    names = {name_of_axis(axis) for axis in known}
    if len(known) == 1:
        return known.pop()
    return ((names.pop() if len(names) == 1 else "", length),)


def _dims(dims: Any, n_dims: int) -> list[int]:
    return [dim % n_dims for dim in (dims if isinstance(dims, list | tuple) else [dims])]


def _map(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    """Give what a convolution gives, over two dimensions or, as of videos, three."""
    names = {4: ("", "c", "y", "x"), 5: ("", "c", "", "y", "x")}
    if output.ndim not in names:
        return None
    return tuple(((name, n),) for name, n in zip(names[output.ndim], output.shape, strict=True))


def _elementwise(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    """Give what tensors are that are broadcast together."""
    last_first = [axes[::-1] for axes in given]
    return tuple(
        _agreed([axes[i] for axes in last_first if i < len(axes)], n)
        for i, n in reversed(list(enumerate(reversed(output.shape))))
    )


def _copied(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    return _elementwise(given[1:], output, args)


def _normalized(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    return _resized(given, output, args) if any(map(name_of_axis, given[0])) else _map(given, output, args)


def _resized(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    """Give what a part, or another resolution, of the first tensor is."""
    if len(given[0]) != output.ndim:
        return None
    return tuple(_with_length(axis, n) for axis, n in zip(given[0], output.shape, strict=True))


def _flipped(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    turned = _dims(args[1], output.ndim)
    return tuple((("", _length(a)),) if dim in turned else a for dim, a in enumerate(given[0]))


def _rolled(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    return _flipped(given, output, args[1:]) if len(args) == 3 else None


def _viewed(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    """Give what the same numbers are in another shape: dimensions are taken together, or apart again."""
    left = [part for axis in given[0] for part in axis]
    if not output.numel() or output.numel() != _length(tuple(left)):
        return None
    axes = []
    for n in output.shape:
        axis, lacking = [], n
        if n == 1 and left and left[0][1] == 1:
            axis.append(left.pop(0))
        while lacking > 1:
            name, length = left.pop(0)
            if lacking % length == 0:
                axis += [(name, length)] if length > 1 else []
                lacking //= length
            elif length % lacking == 0:
                name = name if name == "c" else ""
                axis.append((name, lacking))
                left.insert(0, (name, length // lacking))
                lacking = 1
            else:
                return None
        axes.append(tuple(axis) or (("", 1),))
    return tuple(axes)


def _permuted(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    return tuple(given[0][dim] for dim in args[1])


def _moved(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    old, new = _dims(args[1], output.ndim), _dims(args[2], output.ndim)
    rest = iter([axis for dim, axis in enumerate(given[0]) if dim not in old])
    return tuple(given[0][old[new.index(dim)]] if dim in new else next(rest) for dim in range(output.ndim))


def _transposed(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    axes = list(given[0])
    one, two = _dims(args[1:3] if len(args) > 1 else (-2, -1), max(1, len(axes)))
    axes[one], axes[two] = axes[two], axes[one]
    return tuple(axes)


def _squeezed(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    among = _dims(args[1], len(given[0])) if len(args) > 1 else range(len(given[0]))
    return tuple(axis for dim, axis in enumerate(given[0]) if dim not in among or _length(axis) > 1)


def _unsqueezed(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    axes = list(given[0])
    axes.insert(args[1] % output.ndim, (("", 1),))
    return tuple(axes)


def _expanded(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    return _elementwise(given[:1], output, args)


def _reduced(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    n_dims = len(given[0])
    gone = _dims(args[1], n_dims) if len(args) > 1 and isinstance(args[1], int | list | tuple) else []
    if output.ndim == n_dims:
        return _resized(given, output, args)
    left = tuple(axis for dim, axis in enumerate(given[0]) if dim not in gone)
    return left if len(left) == output.ndim else None


def _norm(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    return _reduced(given, output, args[1:])


def _selected(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    dim = (args[1] if len(args) > 1 else 0) % len(given[0])
    return given[0][:dim] + given[0][dim + 1 :]


def _indexed(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    """Give what is left where the first dimensions are indexed, by one tensor or a mask."""
    if args[1][0] is None or len(args[1]) > 1:
        return None
    index = args[1][0]
    n_indexed, n_now = (index.ndim, 1) if index.dtype == torch.bool else (1, index.ndim)
    return tuple((("", n),) for n in output.shape[:n_now]) + given[0][n_indexed:]


def _joined(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    dim = (args[1] if len(args) > 1 else 0) % output.ndim
    parts = [axes for axes in given if len(axes) == output.ndim]
    axes = [_agreed([each[i] for each in parts], n) for i, n in enumerate(output.shape)]
    names = {name_of_axis(each[dim]) for each in parts} - {""}
    axes[dim] = ((names.pop() if len(names) == 1 else "", output.shape[dim]),)
    return tuple(axes)


def _stacked(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    dim = (args[1] if len(args) > 1 else 0) % output.ndim
    rest = output.shape[:dim] + output.shape[dim + 1 :]
    axes = [_agreed([each[i] for each in given], n) for i, n in enumerate(rest)]
    axes.insert(dim, (("", output.shape[dim]),))
    return tuple(axes)


def _product(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes | None:
    """Give what a matrix product is. Weights turn channels into channels, and anything else into unknown."""
    left, right = given[-2:]
    if len(left) < 2 or len(right) < 2:
        return None
    rows, columns = left[-2], right[-1]
    if not any(map(name_of_axis, right)) and name_of_axis(left[-1]) == "c":
        columns = (("c", _length(columns)),)
    if not any(map(name_of_axis, left)) and name_of_axis(right[-2]) == "c":
        rows = (("c", _length(rows)),)
    batch = output[..., 0, 0]
    return (*_elementwise([left[:-2], right[:-2]], batch, args), rows, columns)


def _linear(given: list[Axes], output: torch.Tensor, args: Sequence[Any]) -> Axes:
    name = "c" if name_of_axis(given[0][-1]) == "c" else ""
    return (*given[0][:-1], ((name, output.shape[-1]),))


FIRST: tuple[Rule, ...] = (_map, _normalized)
"""What tells the dimensions of a map from which nothing is known yet."""

# operations that only call others, as reshape does, come here themselves in inference mode only
RULES: dict[str, Rule] = {
    name: rule
    for rule, names in {
        _map: (
            "conv2d conv2d_relu convolution _convolution deform_conv2d grid_sampler_2d ps_roi_align roi_align"
        ),
        _normalized: (
            "_adaptive_avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d batch_norm "
            "_batch_norm_with_update cudnn_batch_norm fractional_max_pool2d group_norm instance_norm "
            "max_pool2d max_pool2d_with_indices miopen_batch_norm native_batch_norm "
            "_native_batch_norm_legit _native_batch_norm_legit_no_training native_group_norm "
            "quantized_max_pool2d upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d "
            "_upsample_bilinear2d_aa upsample_nearest2d _upsample_nearest_exact2d"
        ),
        _elementwise: (
            "alias celu contiguous dequantize detach dropout feature_dropout _fused_rms_norm "
            "hardswish layer_norm lift_fresh log_sigmoid log_sigmoid_forward _log_softmax log_softmax "
            "mish native_dropout native_layer_norm prelu _prelu_kernel quantize_per_tensor relu6 "
            "rms_norm rrelu rrelu_with_noise selu _softmax softmax square threshold _to_copy"
        ),
        _copied: "copy",
        _resized: (
            "_adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d chunk constant_pad_nd glu "
            "max_pool3d_with_indices narrow pad reflection_pad2d reflection_pad3d replication_pad2d "
            "replication_pad3d slice split split_with_sizes tensor_split unsafe_split "
            "unsafe_split_with_sizes upsample_nearest3d upsample_trilinear3d"
        ),
        _flipped: "flip",
        _rolled: "roll",
        _viewed: "flatten reshape _reshape_alias reshape_as unflatten _unsafe_view view view_as",
        _permuted: "permute",
        _moved: "moveaxis movedim",
        _transposed: "mT swapaxes swapdims t transpose",
        _squeezed: "squeeze",
        _unsqueezed: "unsqueeze",
        _expanded: "expand expand_as to",
        _reduced: "amax amin logsumexp max mean min prod std std_mean sum var var_mean",
        _norm: "linalg_vector_norm norm",
        _selected: "select unbind",
        _indexed: "index",
        _joined: "cat concat concatenate",
        _stacked: "stack",
        _product: "addmm baddbmm bmm matmul mm",
        _linear: "linear linear_relu",
    }.items()
    for name in names.split()
}
"""What operations do, by their names in aten, torchvision and quantized; those in place have the same."""


@lru_cache(4096)
def rule_of(operation: Any) -> Rule | None:
    """Return what an operation does to dimensions, if that is known."""
    if not isinstance(operation, torch._ops.OpOverload):
        return None
    name = operation._schema.name.rpartition("::")[2].rstrip("_")  # in place or not
    return RULES.get(name) or (_elementwise if torch.Tag.pointwise in operation.tags else None)
