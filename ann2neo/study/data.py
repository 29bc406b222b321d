"""Stimuli by name or from a file: data sets, image folders and arrays, in a stored order."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch.utils.data import Dataset

from ..interop.extras import needed

IDX_SETS = {"fashion-mnist": "FashionMNIST", "mnist": "MNIST", "kmnist": "KMNIST"}
"""Data sets in four idx files, and what torchvision calls them."""

TORCHVISION_SETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "svhn": "SVHN"}
"""Data sets that torchvision reads, and what it calls them."""

NAMES = ("digits", *IDX_SETS, *TORCHVISION_SETS)
"""Data sets that :func:`load_data` knows by name."""

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts its files."""

ARRAY_SUFFIXES = (".npy", ".npz", ".pt")
"""Files of arrays that :func:`load_data` opens."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)

IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preparation:
    """How a stimulus is made into what a model takes.

    8-bit stimuli (uint8) are images and are scaled to [0, 1]; other numbers stay as they are: floats as
    float32, whole numbers as int64.

    Parameters
    ----------
    size : int, optional
        Pixels: the short edge of an image is scaled to it, then the centre square cut out.
    channels : {1, 3}, optional
        Grey images are repeated into three channels, coloured ones made grey.
    normalize : bool
        Subtract ImageNet's mean and divide by its standard deviation, as torchvision's models expect.
    transform : callable, optional
        Instead of ``size`` and ``normalize``: torchvision weights' own ``transforms()``.

    Examples
    --------
    >>> prepare = Preparation(size=4, channels=3)
    >>> prepare(torch.full((2, 2), 255, dtype=torch.uint8)).shape
    torch.Size([3, 4, 4])
    """

    size: int | None = None
    channels: int | None = None
    normalize: bool = False
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(f"size={self.size}: give at least one pixel")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels={self.channels}: give 1 (grey) or 3 (colours)")
        if self.normalize and self.channels != 3:
            raise ValueError("ImageNet's mean and standard deviation are for three channels: give channels=3")

    def __call__(self, stimulus: torch.Tensor) -> torch.Tensor:
        """Return the stimulus as the model takes it.

        Raises
        ------
        ValueError
            If an image is asked for and the stimulus is none, or is to be normalised and exceeds [0, 1].
        """
        if self == Preparation():
            return _as_numbers(stimulus)
        from torchvision.transforms.v2 import functional

        image = _as_image(stimulus)
        if self.channels == 3:
            image = image.expand(3, -1, -1)
        elif self.channels == 1 and len(image) == 3:
            image = functional.rgb_to_grayscale(image)
        if self.transform is not None:
            return self.transform(_in_unit_range(image))
        image = _as_numbers(image)
        if self.size is not None:
            image = functional.resize(image.float(), [self.size], antialias=True)
            image = functional.center_crop(image, [self.size])
        if self.normalize:
            image = functional.normalize(_in_unit_range(image), IMAGENET_MEAN, IMAGENET_STD)
        return image


def _as_numbers(stimulus: torch.Tensor) -> torch.Tensor:
    if stimulus.dtype == torch.uint8:
        return stimulus.float() / 255
    return stimulus.float() if stimulus.is_floating_point() else stimulus.long()


def _as_image(stimulus: torch.Tensor) -> torch.Tensor:
    """Return a stimulus as (channels, height, width)."""
    image = stimulus[None] if stimulus.ndim == 2 else stimulus
    if image.ndim == 3 and image.shape[0] not in (1, 3) and image.shape[2] in (1, 3):
        image = image.movedim(2, 0)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(
            f"a stimulus of shape {tuple(stimulus.shape)} is no image of 1 or 3 channels: give arrays "
            "(n_stimuli, channels, height, width), or show your stimuli as they are"
        )
    return image


def _in_unit_range(image: torch.Tensor) -> torch.Tensor:
    if image.dtype != torch.uint8 and (image.min() < 0 or image.max() > 1):
        raise ValueError(
            f"an image has values from {image.min():.4g} to {image.max():.4g}, which cannot be normalised: "
            "give 8-bit images (uint8) or values between 0 and 1, or show your stimuli as they are"
        )
    return image


@dataclass(frozen=True, eq=False, repr=False)
class StimulusSet(Dataset):
    """Stimuli in the order in which they will be shown; a map-style torch Dataset.

    An item is the stimulus, or (stimulus, label) if there are labels. A slice is a StimulusSet again:
    ``data[:2000]`` to show and ``data[2000:2500]`` to calibrate thresholds on have none in common.

    Parameters
    ----------
    name : str
        Name or path it was loaded from.
    fetch : callable
        From an id to the stimulus as it is stored.
    ids : numpy.ndarray
        int64 (n_stimuli,), the place of each stimulus in the data set or file. Give it to
        :func:`ann2neo.record` as ``ids``.
    labels : numpy.ndarray, optional
        (n_stimuli,), the class of each.
    classes : tuple of str
        Names of the classes 0, 1, …, where they are known.
    prepare : Preparation
        What is done to each stimulus.
    files : tuple of str
        For each id the name of its file in the folder, where it has one.
    """

    name: str
    fetch: Callable[[int], torch.Tensor]
    ids: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    prepare: Callable[[torch.Tensor], torch.Tensor] = Preparation()
    files: tuple[str, ...] = ()

    @property
    def array_annotations(self) -> dict[str, np.ndarray]:
        """What else is known of each stimulus, for :func:`ann2neo.record`: its ``file`` in a folder."""
        return {"file": np.array(self.files)[self.ids]} if self.files else {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return self._take(i)
        stimulus = self._stimulus(i)
        if stimulus.shape != self.shape:
            raise ValueError(
                f"stimulus {self.ids[i]} of {self.name} has shape {tuple(stimulus.shape)}, the first one "
                f"{tuple(self.shape)}: bring them to one size (size=, on the command line --size)"
            )
        return stimulus if self.labels is None else (stimulus, self.labels[i].item())

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _stimulus(self, i: int) -> torch.Tensor:
        return self.prepare(self.fetch(int(self.ids[i])))

    def _take(self, which: Any) -> StimulusSet:
        return replace(self, ids=self.ids[which], labels=None if self.labels is None else self.labels[which])

    @cached_property
    def shape(self) -> torch.Size:
        """Shape of a stimulus."""
        return self._stimulus(0).shape

    def __repr__(self) -> str:
        return f"StimulusSet({self.name!r}, {len(self)} stimuli)"


def load_data(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    split: str | None = None,
    shuffle: bool = True,
    seed: int = 0,
    prepare: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> StimulusSet:
    """Find stimuli by the name of a data set, or in a folder or file.

    ================================================ =====================================================
    ``name_or_path``                                 what it is
    ================================================ =====================================================
    ``digits``                                       scikit-learn's 1797 images of 8 × 8 pixels
    ``fashion-mnist``, ``mnist``, ``kmnist``         images of 28 × 28 pixels, idx files, also gzipped
    ``cifar10``, ``cifar100``, ``svhn``              coloured images of 32 × 32 pixels, by torchvision
    folder                                           images, in one subfolder for each class or in none
    ``.npy``                                         stimuli along the first dimension
    ``.npz``                                         ``x`` or ``stimuli``; optional ``y`` or ``labels``
    ``.pt``                                          a tensor, a pair (x, y), or a dict as for ``.npz``
    ================================================ =====================================================

    A name wins over a folder of that name; write ``./digits`` for the folder.

    Parameters
    ----------
    name_or_path : str or path
        What to load.
    root : path, optional
        Folder of a data set known by name, by default ``data``; Fashion-MNIST is by default also found
        where Debian's package dataset-fashion-mnist puts it.
    download : bool
        Let torchvision download a data set into ``root`` if it is not there.
    split : {"test", "train"}, optional
        Part of a data set that has two; by default ``"test"``.
    shuffle : bool
        Show the stimuli in random order, drawn with ``seed``: files are often sorted, and data sets in
        their own order are often not exchangeable.
    seed : int
        For the order.
    prepare : callable, optional
        What is done to each stimulus; by default :class:`Preparation` with nothing asked for.

    Returns
    -------
    StimulusSet
        All stimuli of it.

    Raises
    ------
    FileNotFoundError
        If the data are not there; it says where they can be had.
    ImportError
        If digits are asked for and scikit-learn is missing.
    ValueError
        If a file is damaged or holds no stimuli, or an argument does not apply.

    Examples
    --------
    >>> data = load_data("digits", seed=1)
    >>> data, data.ids[:3].tolist(), data[0][0].shape, data[0][1]
    (StimulusSet('digits', 1797 stimuli), [1614, 698, 1468], torch.Size([1, 8, 8]), 5)
    """
    name, path = str(name_or_path), Path(name_or_path)
    named = name in IDX_SETS or name in TORCHVISION_SETS
    for argument, value in (("root", root), ("download", download), ("split", split)):
        if value and not named:
            raise ValueError(f"{argument}={value!r} is for {', '.join(NAMES[1:])}, not for {name}")
    if split not in (None, "test", "train"):
        raise ValueError(f"split={split!r}: give 'test' or 'train'")
    if name == "digits":
        data = _digits()
    elif name in IDX_SETS:
        data = _idx_set(name, root, download, split or "test")
    elif named:
        data = _torchvision_set(name, Path(root or "data"), download, split or "test")
    elif path.is_dir():
        data = _image_folder(path)
    elif path.suffix in ARRAY_SUFFIXES:
        data = _array_file(path)
    else:
        known = f"give a folder of images, a file ({', '.join(ARRAY_SUFFIXES)}) or one of {', '.join(NAMES)}"
        if path.exists():
            raise ValueError(f"{path} holds no stimuli that can be read: {known}")
        raise FileNotFoundError(f"there is no data set, folder or file {name!r}: {known}")
    if not len(data):
        raise ValueError(f"there are no stimuli in {name}")
    if shuffle:
        data = data._take(np.random.default_rng(seed).permutation(len(data)))
    return data if prepare is None else replace(data, prepare=prepare)


def _from_arrays(name: str, stimuli: Any, labels: Any = None, classes: tuple[str, ...] = ()) -> StimulusSet:
    x, y = (_as_array(name, values) for values in (stimuli, labels))
    if x is None or x.ndim == 0 or x.dtype.kind not in "fiub":
        raise ValueError(f"the stimuli in {name} are no array of real numbers, one stimulus a row")
    if y is not None and y.shape != (len(x),):
        raise ValueError(
            f"labels of shape {y.shape} for {len(x)} stimuli in {name}: give one number or name for each"
        )
    # torch knows native byte order only, and few unsigned types
    dtype = {"f": np.float32, "b": np.float32}.get(
        x.dtype.kind, np.uint8 if x.dtype == np.uint8 else np.int64
    )
    return StimulusSet(
        name, lambda i: torch.from_numpy(np.array(x[i], dtype)), np.arange(len(x)), y, tuple(classes)
    )


def _as_array(name: str, values: Any) -> np.ndarray | None:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()
    if values is None or isinstance(values, np.ndarray):
        return values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _digits() -> StimulusSet:
    digits = needed("sklearn.datasets", by="the data set digits", extra="demo").load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    return _from_arrays("digits", images, digits.target, tuple(str(name) for name in digits.target_names))


def _idx_set(name: str, root: Any, download: bool, split: str) -> StimulusSet:
    import torchvision.datasets

    torchvision_set = getattr(torchvision.datasets, IDX_SETS[name])
    home = Path(root or "data")
    folders = [home / IDX_SETS[name] / "raw"]
    if root is not None:
        folders.append(home)
    elif name == "fashion-mnist":
        folders.append(DEBIAN_FASHION_MNIST)
    part = {"test": "t10k", "train": "train"}[split]
    stems = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")

    def found() -> list[Path] | None:
        for folder in folders:
            files = [f for f in (_plain_or_gzipped(folder / stem) for stem in stems) if f is not None]
            if len(files) == len(stems):
                return files
        return None

    files = found()
    if files is None and download:
        torchvision_set(home, download=True)
        files = found()
    if files is None:
        debian = "install Debian's package dataset-fashion-mnist, " if name == "fashion-mnist" else ""
        raise FileNotFoundError(
            f"{name} is not in {' or '.join(map(str, folders))} ({stems[0]}, also .gz): {debian}"
            "name the folder it is in (root=, on the command line --root), or give download=True (--download)"
        )
    images, labels = map(_read_idx, files)
    return _from_arrays(name, images[:, None], labels.astype(np.int64), tuple(torchvision_set.classes))


def _plain_or_gzipped(path: Path) -> Path | None:
    zipped = path.with_name(f"{path.name}.gz")
    return path if path.is_file() else zipped if zipped.is_file() else None


def _read_idx(path: Path) -> np.ndarray:
    """Read an array of bytes: 0, 0, 8, number of dimensions, then each as a big-endian uint32, then data."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
        if content[:3] != b"\0\0\x08":
            raise ValueError(f"it begins with {content[:3]!r}")
        shape = np.frombuffer(content, ">u4", content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape.astype(np.int64))
    except (ValueError, IndexError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged, or no idx file of bytes ({error})") from error


def _torchvision_set(name: str, root: Path, download: bool, split: str) -> StimulusSet:
    import torchvision.datasets
    from torchvision.transforms.v2.functional import pil_to_tensor

    make = getattr(torchvision.datasets, TORCHVISION_SETS[name])
    part: dict[str, Any] = {"split": split} if name == "svhn" else {"train": split == "train"}
    try:
        images = make(root, download=download, **part)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"{name} is not in {root}, or damaged there ({error}): name the folder it is in (root=, on the "
            "command line --root), or give download=True (--download)"
        ) from error
    labels = images.labels if name == "svhn" else images.targets
    return StimulusSet(
        name,
        lambda i: pil_to_tensor(images[i][0]),
        np.arange(len(images)),
        np.asarray(labels, np.int64),
        tuple(getattr(images, "classes", ())),
    )


def _image_folder(path: Path) -> StimulusSet:
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    classes = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    numbers = {name: number for number, name in enumerate(classes)}
    in_classes: list[tuple[str, int]] = []
    if classes:
        in_classes = make_dataset(str(path), numbers, extensions=IMG_EXTENSIONS, allow_empty=True)
    loose = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in IMG_EXTENSIONS)
    if in_classes and loose:
        raise ValueError(
            f"{path} holds images itself ({loose[0].name}) and in subfolders ({', '.join(classes[:3])}): "
            "put all of them into one subfolder for each class, or none"
        )
    if not in_classes and not loose:
        raise FileNotFoundError(f"there are no images ({', '.join(IMG_EXTENSIONS)}) in the folder {path}")
    files = [Path(file) for file, _ in in_classes] or loose
    return StimulusSet(
        str(path),
        lambda i: _read_image(files[i]),
        np.arange(len(files)),
        np.array([label for _, label in in_classes], np.int64) if in_classes else None,
        tuple(classes) if in_classes else (),
        files=tuple(file.relative_to(path).as_posix() for file in files),
    )


def _read_image(path: Path) -> torch.Tensor:
    from PIL import Image
    from torchvision.transforms.v2.functional import pil_to_tensor

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would clip these to 8 bits
                raise ValueError(f"its mode is {image.mode!r}, more than 8 bits: convert it, or save as .npy")
            return pil_to_tensor(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise ValueError(f"the image {path} cannot be read: {error}") from error


def _array_file(path: Path) -> StimulusSet:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = _read_arrays(path)
    except UnpicklingError as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors: save a tensor, a pair (x, y) or a dict of them"
        ) from error
    except (ValueError, TypeError, EOFError, BadZipFile, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, or no {path.suffix} file of numbers ({error})") from error
    return _from_arrays(str(path), *_stimuli_and_labels(path, content))


def _read_arrays(path: Path) -> Any:
    if path.suffix == ".pt":
        return torch.load(path, map_location="cpu", weights_only=True)
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r")
    with path.open("rb") as file:
        return dict(np.load(file))


def _stimuli_and_labels(path: Path, content: Any) -> tuple[Any, Any]:
    if isinstance(content, torch.Tensor | np.ndarray):
        return content, None
    if isinstance(content, tuple | list) and len(content) == 2:
        return content[0], content[1]
    if isinstance(content, Mapping):
        stimuli = [name for name in ("x", "stimuli") if name in content]
        labels = [name for name in ("y", "labels") if name in content]
        if len(stimuli) == 1 and len(labels) <= 1:
            return content[stimuli[0]], content[labels[0]] if labels else None
        raise ValueError(
            f"{path} holds {', '.join(map(repr, content))}: name the stimuli 'x' or 'stimuli', "
            "their labels, if there are any, 'y' or 'labels'"
        )
    raise ValueError(
        f"{path} holds a {type(content).__name__}: save a tensor, a pair (x, y) or a dict of tensors"
    )
