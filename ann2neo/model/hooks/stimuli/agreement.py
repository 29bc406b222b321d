"""Which layers have the steps of the stimuli, and which only seem to have steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import PackedSequence

from ....recording.by_layer import matches
from ..selection import Selection
from .call import Call
from .steps import Bins, bins_of


@dataclass(frozen=True, eq=False)
class Fired:
    """What one layer gave in a pass.

    Parameters
    ----------
    name : str
        Of the layer.
    modules : tuple of str
        Names of its module.
    output : torch.Tensor or PackedSequence
        What it gave; of calls that are steps, (n_stimuli, n_calls, ...).
    time_dim : int, optional
        The dimension that is time.
    of_calls : bool
        Whether the steps are calls.
    """

    name: str
    modules: tuple[str, ...]
    output: torch.Tensor | PackedSequence
    time_dim: int | None
    of_calls: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Its own name, and those of its module."""
        return (self.name, *self.modules)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what it gave."""
        return tuple(self.output.data.shape if isinstance(self.output, PackedSequence) else self.output.shape)

    @property
    def has_units(self) -> bool:
        """Whether there is more than stimuli and steps."""
        return isinstance(self.output, PackedSequence) or self.output.ndim > 2


def other_steps(
    fired: Sequence[Fired],
    selection: Selection,
    call: Call,
    shown: torch.Tensor | None,
    n_stimuli: frozenset[int],
    known: Bins | None = None,
) -> dict[str, tuple[int, ...]]:
    """Return the layers of a first pass, with shapes, whose steps are not those of the stimuli.

    The steps of the stimuli are those of the mask, or else of integers (n_stimuli, n_steps) that the model
    was given, or else those that most layers have. A layer (n_stimuli, n_steps), as a pooler gives it, does
    not count beside layers that have units, too.

    Parameters
    ----------
    fired : sequence of Fired
        What all layers gave.
    selection : Selection
        What a layer that is named exactly gives must fit.
    call : Call
        What the model was given.
    shown : torch.Tensor, optional
        Lengths or mask, if they were told otherwise.
    n_stimuli : frozenset of int
        How many stimuli there may be; empty if that is not known.
    known : Bins, optional
        The bins of the stimuli, where a layer that :func:`fits_surely` has shown them.

    Raises
    ------
    ValueError
        If it cannot be known which steps are those of the stimuli, no layer has them, or a layer that is
        named exactly does not.
    """
    misfits: dict[str, str] = {}
    groups: dict[Bins, list[Fired]] = {}
    for each in fired:
        try:
            bins = bins_of(each.name, each.output, each.time_dim, shown_in(each, call, shown))
            _check_known(each, bins, selection, call, shown)
        except ValueError as error:
            misfits[each.name] = str(error)
        else:
            groups.setdefault(bins, []).append(each)
    if known is None:
        kept = _kept(groups, call, n_stimuli, selection)
    else:
        kept = [each for each in groups.get(known, []) if each.has_units or _is_named(each, selection)]
    for bins, group in groups.items():
        for each in group:
            if each not in kept:
                misfits[each.name] = _differs(each, bins, known or _bins_of_first(kept, groups) or bins)
    out = {each.name: each.shape for each in fired if each.name in misfits}
    _check_wanted(fired, misfits, bool(kept) or known is not None, selection)
    return out


def fits_surely(fired: Fired, call: Call, shown: torch.Tensor | None) -> Bins | None:
    """Return the bins of a layer whose steps are those of the tokens or the mask, which the model was given.

    None, if it does not have these steps, or the call does not tell.
    """
    if shown is not None or call.has_decoder or call.sides[""].n_steps is None:
        return None
    is_sequence = isinstance(fired.output, torch.Tensor) and fired.time_dim is not None and fired.has_units
    if not is_sequence:
        return None
    try:
        bins = bins_of(fired.name, fired.output, fired.time_dim, shown_in(fired, call, None))
    except ValueError:
        return None
    has_stimuli = bins.n_stimuli in call.n_stimuli
    return bins if has_stimuli and bins.n_steps == call.sides[""].n_steps else None


def shown_in(
    fired: Fired, call: Call, shown: torch.Tensor | None, n_shown_before: int = 0
) -> torch.Tensor | None:
    """Return which steps of a layer are bins, as :func:`into_bins` takes it; None if all are.

    Parameters
    ----------
    fired : Fired
        What the layer gave.
    call : Call
        What the model was given: it may have a mask.
    shown : torch.Tensor, optional
        Lengths or mask, if they were told otherwise.
    n_shown_before : int
        Leave out so many steps at the beginning.

    Raises
    ------
    ValueError
        If it cannot be known.
    """
    output, dim = fired.output, fired.time_dim
    if isinstance(output, PackedSequence) or dim is None or not -output.ndim <= dim < output.ndim > 1:
        return shown
    n_stimuli, n_steps = output.movedim(dim, 1).shape[:2]
    shown = call.shown_in(fired.name, n_steps) if shown is None else shown
    if not n_shown_before or fired.of_calls:
        return shown
    sequence = call.sequence
    if sequence is not None and n_steps != sequence.shape[1]:
        raise ValueError(
            f"layer {fired.name!r} gives {n_steps} steps of a sequence of {sequence.shape[1]} that grows in "
            "each pass, so it is not known which of them are new: choose layers that give one for each"
        )
    is_new = torch.arange(n_steps, device=output.device) >= n_shown_before
    if shown is None:
        return is_new.expand(n_stimuli, n_steps)
    shown = shown.to(output.device)
    if shown.ndim == 1:
        shown = torch.arange(n_steps, device=output.device) < shown[:, None]
    return shown.bool() & is_new if shown.shape == (n_stimuli, n_steps) else shown


def _check_known(
    each: Fired, bins: Bins, selection: Selection, call: Call, shown: torch.Tensor | None
) -> None:
    """Check the number of steps against that of integers which the model was given."""
    if shown is not None or each.time_dim is None or each.of_calls or isinstance(each.output, PackedSequence):
        return
    if isinstance(selection.time_dim, Mapping) and any(name in selection.time_dim for name in each.names):
        return  # told of this very layer
    known = call.sequences_of(each.name, bins.n_steps).n_steps
    of_given = _steps_given(each, call)
    if known is None and of_given in each.shape[1:]:
        known = of_given  # the layer has the steps, but in another dimension
    if known is not None and bins.n_steps != known:
        raise ValueError(
            f"layer {each.name!r} gives {each.shape}, which has {bins.n_steps} steps in time_dim="
            f"{each.time_dim}, but the model was given {known} steps. Give its own dimension by its name, "
            f"time_dim={{{each.name!r}: ...}}, or choose other layers"
        )


def _kept(
    groups: dict[Bins, list[Fired]], call: Call, n_stimuli: frozenset[int], selection: Selection
) -> list[Fired]:
    """Return the layers whose steps are taken for those of the stimuli."""
    likely = {bins: group for bins, group in groups.items() if not n_stimuli or bins.n_stimuli in n_stimuli}
    likely = likely or groups
    with_units = {bins: [each for each in group if each.has_units] for bins, group in likely.items()}
    likely = {bins: group for bins, group in with_units.items() if group} or likely
    if len(likely) > 1:
        likely = _first_side(likely, call)
    if len(likely) > 1:
        as_given = {
            bins: group
            for bins, group in likely.items()
            if any(bins.n_steps == _steps_given(each, call) for each in group)
        }
        likely = as_given or likely
    most = max((len(group) for group in likely.values()), default=0)
    chosen = [bins for bins, group in likely.items() if len(group) == most]
    if len(chosen) > 1:
        shapes = {each.name: each.shape for bins in chosen for each in likely[bins]}
        raise ValueError(
            f"layers have different steps, so it is not clear which are those of the stimuli: {shapes}. "
            "Give time_dim= as a dict by layer, or name as layers= those that have the same steps"
        )
    kept = likely[chosen[0]] if chosen else []
    rest = groups[chosen[0]] if chosen else []
    exact = [each for each in rest if each not in kept and _is_named(each, selection)]
    return kept + exact


def _steps_given(each: Fired, call: Call) -> int | None:
    """Return the size of a layer's dimension of time in what the model was given, if that is a sequence."""
    given, dim = call.given, each.time_dim
    if given is None or given.ndim != 3 or dim not in (1, 2, -1, -2):
        return None  # with steps first, the model may turn round what it is given
    return int(given.shape[dim])


def _first_side(likely: dict[Bins, list[Fired]], call: Call) -> dict[Bins, list[Fired]]:
    """Prefer the encoder, which reads the stimuli, to the decoder."""
    of_encoder = {
        bins: group
        for bins, group in likely.items()
        if call.has_decoder and any(call.side_of(each.name) == "encoder" for each in group)
    }
    return of_encoder or likely


def _bins_of_first(kept: list[Fired], groups: dict[Bins, list[Fired]]) -> Bins | None:
    return next((bins for bins, group in groups.items() if kept and kept[0] in group), None)


def _differs(each: Fired, bins: Bins, of_kept: Bins) -> str:
    return (
        f"layer {each.name!r} gives {bins}, in an activation of shape {each.shape}, but another layer gave "
        f"{of_kept} in the same pass. The first dimension, apart from time_dim=, must be the batch. Give "
        "time_dim= as a dict by layer, or record layers with other steps separately"
    )


def _check_wanted(
    fired: Sequence[Fired], misfits: dict[str, str], is_any_kept: bool, selection: Selection
) -> None:
    """Raise the reason if a name, glob, or everything is left without a layer."""
    for each in fired:
        if each.name in misfits and _is_named(each, selection):
            raise ValueError(misfits[each.name])
    patterns = [entry for entry in selection.layers or () if isinstance(entry, str)]
    for pattern in patterns:
        of_pattern = [each for each in fired if matches(pattern, *each.names)]
        if of_pattern and all(each.name in misfits for each in of_pattern):
            raise ValueError(misfits[of_pattern[0].name])
    if fired and not is_any_kept:
        raise ValueError(misfits[fired[0].name])


def _is_named(each: Fired, selection: Selection) -> bool:
    return selection.names(*each.names)
