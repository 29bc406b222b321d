"""Image sets in MNIST's format, made here."""

import gzip
import struct

import numpy as np

IDX_STEMS = {"test": "t10k", "train": "train"}


def write_idx(path, array, opener=gzip.open):
    """The idx format, written from its description: magic, big-endian sizes, bytes."""
    with opener(path, "wb") as file:
        file.write(bytes([0, 0, 8, array.ndim]))
        file.write(struct.pack(f">{array.ndim}I", *array.shape))
        file.write(array.astype(np.uint8).tobytes())


def write_idx_set(folder, opener=gzip.open, suffix=".gz", n=20):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    written = {}
    for split, stem in IDX_STEMS.items():
        images, labels = rng.integers(0, 256, (n, 28, 28)), rng.integers(0, 10, n)
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", images, opener)
        write_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}", labels, opener)
        written[split] = images, labels
    return written
