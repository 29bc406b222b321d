"""Data sets by name: scikit-learn's digits, sets in idx files, and those that torchvision reads."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...interop.extras import needed
from .stimulus_set import StimulusSet, from_arrays

IDX_SETS = {"fashion-mnist": "FashionMNIST", "mnist": "MNIST", "kmnist": "KMNIST"}
"""Data sets in four idx files, with the names of their classes in torchvision."""

TORCHVISION_SETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "svhn": "SVHN"}
"""Data sets that torchvision reads, with the names of their classes there."""

NAMES = ("digits", *IDX_SETS, *TORCHVISION_SETS)
"""Data sets that :func:`.load_data` knows by name."""

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts its files."""


def named_set(name: str, root: Any, download: bool, split: str | None) -> StimulusSet:
    """Return one of :data:`NAMES`, in its own order."""
    if name == "digits":
        return _digits()
    if name in IDX_SETS:
        return _idx_set(name, root, download, split or "test")
    return _torchvision_set(name, Path(root or "data"), download, split or "test")


def _digits() -> StimulusSet:
    digits = needed("sklearn.datasets", by="the data set digits", extra="demo").load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    return from_arrays("digits", images, digits.target, tuple(str(name) for name in digits.target_names))


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
    return from_arrays(name, images[:, None], labels.astype(np.int64), tuple(torchvision_set.classes))


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
        raise ValueError(f"{path} is damaged, or not an idx file of bytes ({error})") from error


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
