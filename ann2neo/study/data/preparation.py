"""How a stimulus is made into what a model takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

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
        Pixels. The short edge of an image is scaled to it, then the centre square is cut out.
    channels : {1, 3}, optional
        With 3, grey images are repeated into three channels; with 1, coloured images are made grey.
    normalize : bool
        Subtract ImageNet's mean and divide by its standard deviation, as torchvision's models expect.
    transform : callable, optional
        Used instead of ``size`` and ``normalize``, say the ``transforms()`` of torchvision's weights.

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
            raise ValueError(
                f"normalize=True needs three channels, as ImageNet's mean has, but channels={self.channels}: "
                "give channels=3"
            )

    def __call__(self, stimulus: torch.Tensor) -> torch.Tensor:
        """Return the stimulus as the model takes it.

        Raises
        ------
        ValueError
            If the stimulus is not an image but has to be, or has to be normalised and exceeds [0, 1].
        """
        if self == UNPREPARED:
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


UNPREPARED = Preparation()
"""The numbers of a stimulus, and nothing else changed."""


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
            f"a stimulus of shape {tuple(stimulus.shape)} is not an image of 1 or 3 channels: give arrays "
            "(n_stimuli, channels, height, width), or show your stimuli as they are"
        )
    return image


def _in_unit_range(image: torch.Tensor) -> torch.Tensor:
    if image.dtype != torch.uint8 and (image.min() < 0 or image.max() > 1):
        raise ValueError(
            f"cannot normalise an image with values from {image.min():.4g} to {image.max():.4g}: give 8-bit "
            "images (uint8) or values between 0 and 1, or show your stimuli as they are"
        )
    return image
