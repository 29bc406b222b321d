"""Several passes that are steps of the same stimuli."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import torch

from ....recording.units import Layer
from .call import Call


class Block:
    """Keeps what layers gave in several passes, until it is put in the order of the stimuli.

    Examples
    --------
    >>> block, layer = Block(), Layer("relu", (), (1,), np.arange(1))
    >>> for step in (0.0, 1.0):
    ...     block.add({layer: torch.tensor([[step], [step + 10]])}, np.array([1, 1]))
    >>> [activation.flatten().tolist() for _, activation in block.layers()], block.n_steps.tolist()
    ([[0.0, 1.0, 10.0, 11.0]], [2, 2])
    """

    def __init__(self) -> None:
        self._n_begun = 0
        self._activations: dict[Layer, list[torch.Tensor]] = {}
        self._n_steps: list[np.ndarray] = []
        self._sequence: torch.Tensor | None = None

    @property
    def has_failed(self) -> bool:
        """Whether a pass was begun, but not completed."""
        return self._n_begun > len(self._n_steps)

    def begin(self, call: Call | None = None) -> int:
        """Begin a pass; return how many of its first steps were shown before, in a text that grows.

        Parameters
        ----------
        call : Call, optional
            What the model is given, if its steps are bins.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If there are more steps than before, but they do not begin with those.
        """
        self._n_begun += 1
        before, now = self._sequence, None if call is None else call.sequence
        if now is None or now.ndim < 2:
            return 0
        self._sequence = now.detach().clone()  # a buffer may be written over
        if before is None or before.ndim != now.ndim or now.shape[1] <= before.shape[1]:
            return 0
        n_before = before.shape[1]
        if not torch.equal(now[:, :n_before], before):
            raise ValueError(
                f"the model was given {now.shape[1]} steps, more than in the pass before, but they do not "
                f"begin with its {n_before}, so it is not known which of them are new. In a block of one "
                "stimulus give sequences that grow at their end, or new steps alone. Beams that change "
                "places, and drafts that are taken back, cannot be recorded"
            )
        return n_before

    def add(self, activations: dict[Layer, torch.Tensor], n_steps: np.ndarray) -> None:
        """Add a pass: (n_bins, ...) of each layer, and the bins of each stimulus in it.

        Raises
        ------
        ValueError
            If there are other stimuli than in the passes before.
        """
        if self._n_steps and len(n_steps) != len(self._n_steps[0]):
            raise ValueError(
                f"this pass has {len(n_steps)} stimuli, but the first of its block had "
                f"{len(self._n_steps[0])}: all passes in a block must show the same stimuli"
            )
        for layer, activation in activations.items():
            self._activations.setdefault(layer, []).append(activation)
        self._n_steps.append(n_steps)

    @property
    def n_steps(self) -> np.ndarray:
        """Bins of each stimulus in all passes, int64 (n_stimuli,); empty without a pass."""
        return np.sum(self._n_steps, axis=0) if self._n_steps else np.zeros(0, np.int64)

    def layers(self) -> Iterator[tuple[Layer, torch.Tensor]]:
        """Yield each layer with its activation (n_bins, ...), stimulus by stimulus, and forget it.

        Raises
        ------
        ValueError
            If a stimulus has no bin.
        """
        n_steps = self.n_steps
        if not n_steps.all():
            raise ValueError(
                f"stimulus {int(n_steps.argmin())} of the batch has no step that is shown: leave it out"
            )
        stimulus = np.concatenate([np.repeat(np.arange(len(each)), each) for each in self._n_steps])
        order = torch.from_numpy(np.argsort(stimulus, kind="stable"))
        for layer in list(self._activations):
            passes = torch.cat(self._activations.pop(layer))
            yield layer, passes[order.to(passes.device)]


class Repeats:
    """Notices a batch that is shown several times in a row to a model that does not change.

    Examples
    --------
    >>> repeats, model, x = Repeats(), torch.nn.Linear(1, 1), torch.zeros(2, 1)
    >>> [repeats.are_seen(model, x) for _ in range(3)]
    [False, False, True]
    """

    def __init__(self) -> None:
        self._shown: weakref.ref[torch.Tensor] | None = None
        self._version, self._of_parameters, self._n_times = 0, -1, 0

    def are_seen(self, model: torch.nn.Module, given: torch.Tensor | None) -> bool:
        """Tell whether a batch, the very tensor, is shown for at least the third time in a row."""
        if given is None or given.is_inference():
            self._shown, self._n_times = None, 0
            return False
        is_same = self._shown is not None and given is self._shown() and given._version == self._version
        # in training the parameters change with each step; they are looked at only where it matters
        of_parameters = sum(p._version for p in model.parameters() if not p.is_inference()) if is_same else -1
        is_same = is_same and self._of_parameters in (-1, of_parameters)
        self._n_times = self._n_times + 1 if is_same else 1
        self._shown = weakref.ref(given)
        self._version, self._of_parameters = given._version, of_parameters
        return self._n_times > 2
