"""Small image classifiers by name, initialised reproducibly: the architectures of the study and the demo."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

HIDDEN = (256, 256, 128)
"""Units in the hidden layers of the multilayer perceptron."""


def network(name: str, shape: tuple[int, int, int], n_classes: int, seed: int = 0) -> nn.Module:
    """Return a classifier of small images, with random weights.

    ============ ============================================================================
    ``mlp``      multilayer perceptron, three hidden layers of 256, 256 and 128 ReLU units
    ``cnn``      three convolutions of 3 × 3 with ReLU and pooling, one hidden linear layer
    ``resnet18`` torchvision's ResNet-18
    ``vgg11``    the features of torchvision's VGG-11 and one hidden linear layer
    ``vgg11_bn`` the same with batch normalisation
    ``vit``      torchvision's vision transformer: 4 blocks, 4 heads, 64 dimensions, 16 patches
    ============ ============================================================================

    Images smaller than an architecture can take are enlarged to 16 (ResNet) or 32 pixels (VGG). The global
    random state is neither used nor changed.

    Parameters
    ----------
    name : str
        One of :data:`ARCHITECTURES`.
    shape : tuple of int
        Of an image: channels, height, width.
    n_classes : int
        Number of outputs.
    seed : int
        The same seed gives the same weights.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ValueError
        If there is no such architecture.

    Examples
    --------
    >>> model = network("cnn", (1, 8, 8), 10)
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture {name!r} is unknown: give one of {', '.join(ARCHITECTURES)}")
    with seeded(seed):
        return ARCHITECTURES[name](shape, n_classes)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from a seed on the CPU, and put its global state back.

    Examples
    --------
    >>> with seeded(1):
    ...     one = torch.rand(2)
    >>> with seeded(1):
    ...     torch.equal(one, torch.rand(2))
    True
    """
    # torch.manual_seed would also seed the accelerators, and nobody would restore these
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def mlp(widths: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """Return a multilayer perceptron with ReLU units, initialised by torch's own rule.

    The global random state is neither used nor changed.

    Examples
    --------
    >>> [name for name, _ in mlp((64, 32, 10)).named_children()]
    ['linear1', 'relu1', 'linear2']
    """
    with seeded(seed):
        return nn.Sequential(_perceptron(widths))


def _perceptron(widths: tuple[int, ...]) -> OrderedDict[str, nn.Module]:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        parts[f"linear{number}"] = nn.Linear(n_in, n_out)
        parts[f"relu{number}"] = nn.ReLU()
    parts.popitem()
    return parts


def _mlp(shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    channels, height, width = shape
    layers = _perceptron((channels * height * width, *HIDDEN, n_classes))
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), **layers))


def _cnn(shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    channels, height, width = shape
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, n_out in enumerate((32, 64, 64), start=1):
        parts[f"conv{number}"] = nn.Conv2d(channels, n_out, 3, padding=1)
        parts[f"relu{number}"] = nn.ReLU()
        if number < 3:
            parts[f"pool{number}"] = nn.MaxPool2d(2)
        channels = n_out
    parts["flatten"] = nn.Flatten()
    parts["linear1"] = nn.Linear(channels * (height // 4) * (width // 4), 128)
    parts["relu4"] = nn.ReLU()
    parts["linear2"] = nn.Linear(128, n_classes)
    return nn.Sequential(parts)


def _enlarged(model: nn.Module, shape: tuple[int, int, int], least: int) -> nn.Module:
    """Put an enlargement of the images before the model, if they are smaller than it can take."""
    if min(shape[1:]) >= least:
        return model
    enlarge = nn.Upsample((least, least), mode="bilinear")
    return nn.Sequential(OrderedDict(enlarge=enlarge, net=model))


def _resnet18(shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    from torchvision.models import resnet18

    model = resnet18(num_classes=n_classes)
    model.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
    return _enlarged(model, shape, 16)


def _vgg11(shape: tuple[int, int, int], n_classes: int, *, batch_norm: bool = False) -> nn.Module:
    from torchvision.models import vgg11, vgg11_bn

    features = (vgg11_bn if batch_norm else vgg11)().features
    features[0] = nn.Conv2d(shape[0], 64, 3, padding=1)
    # torchvision's own head, made for 224 pixels, has a hundred times the weights
    head = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, n_classes))
    pool = nn.AdaptiveAvgPool2d(1)
    parts = OrderedDict(features=features, pool=pool, flatten=nn.Flatten(), head=head)
    return _enlarged(nn.Sequential(parts), shape, 32)


def _vgg11_bn(shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    return _vgg11(shape, n_classes, batch_norm=True)


def _vit(shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    from torchvision.models import VisionTransformer

    channels, height, width = shape
    size = -(-max(height, width) // 4) * 4
    model = VisionTransformer(size, size // 4, 4, 4, 64, 128, num_classes=n_classes)
    model.conv_proj = nn.Conv2d(channels, 64, size // 4, stride=size // 4)
    # torchvision begins with zeros: a random network would give the same output for every image
    nn.init.normal_(model.heads.head.weight, std=0.02)
    fits = (height, width) == (size, size)
    return model if fits else nn.Sequential(OrderedDict(enlarge=nn.Upsample((size, size)), net=model))


ARCHITECTURES: dict[str, Callable[[tuple[int, int, int], int], nn.Module]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet18": _resnet18,
    "vgg11": _vgg11,
    "vgg11_bn": _vgg11_bn,
    "vit": _vit,
}
"""What :func:`network` makes, by name."""
