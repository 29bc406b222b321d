"""Stimuli in folders of images and in files of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from .stimulus_set import StimulusSet, from_arrays

ARRAY_SUFFIXES = (".npy", ".npz", ".pt")
"""Files of arrays that :func:`.load_data` opens."""


def image_folder(path: Path) -> StimulusSet:
    """Return the images of a folder, in one subfolder for each class or in none.

    Raises
    ------
    FileNotFoundError
        If there are no images.
    ValueError
        If some images lie in subfolders, others do not.
    """
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
            pixels: torch.Tensor = pil_to_tensor(image.convert("RGB"))
            return pixels
    except (OSError, ValueError) as error:
        raise ValueError(f"the image {path} cannot be read: {error}") from error


def array_file(path: Path) -> StimulusSet:
    """Return the stimuli of a file of arrays, and their labels, if it has any.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or does not hold stimuli.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = _read_arrays(path)
    except UnpicklingError as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors: save a tensor, a pair (x, y) or a dict of them"
        ) from error
    except (ValueError, TypeError, EOFError, BadZipFile, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, or not a {path.suffix} file of numbers ({error})") from error
    return from_arrays(str(path), *_stimuli_and_labels(path, content))


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
