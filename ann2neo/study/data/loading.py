"""Stimuli by name or from a file, in an order that is stored with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .files import ARRAY_SUFFIXES, array_file, image_folder
from .named_sets import NAMES, named_set
from .stimulus_set import StimulusSet


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
        Let torchvision download a data set into ``root``, if it is not there.
    split : {"test", "train"}, optional
        Which part of a data set known by name; by default ``"test"``.
    shuffle : bool
        Show the stimuli in random order, drawn with ``seed``. The own order of a file or data set is often
        sorted, or not random in some other way.
    seed : int
        For the order.
    prepare : callable, optional
        Makes each stimulus into what the model takes; by default :class:`Preparation` without arguments.

    Returns
    -------
    StimulusSet
        All its stimuli.

    Raises
    ------
    FileNotFoundError
        If the data are not there. The message says how to get them.
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
    for argument, value in (("root", root), ("download", download), ("split", split)):
        if value and name not in NAMES[1:]:
            raise ValueError(
                f"{argument}={value!r} does not apply to {name}: leave it out, or give one of "
                f"{', '.join(NAMES[1:])}"
            )
    if split not in (None, "test", "train"):
        raise ValueError(f"split={split!r}: give 'test' or 'train'")
    if name in NAMES:
        data = named_set(name, root, download, split)
    elif path.is_dir():
        data = image_folder(path)
    elif path.suffix in ARRAY_SUFFIXES:
        data = array_file(path)
    else:
        known = f"give a folder of images, a file ({', '.join(ARRAY_SUFFIXES)}) or one of {', '.join(NAMES)}"
        if path.exists():
            raise ValueError(f"{path} cannot be read as stimuli: {known}")
        raise FileNotFoundError(f"there is no data set, folder or file {name!r}: {known}")
    if not len(data):
        raise ValueError(f"there are no stimuli in {name}: give at least one")
    if shuffle:
        data = data.take(np.random.default_rng(seed).permutation(len(data)))
    return data if prepare is None else replace(data, prepare=prepare)
