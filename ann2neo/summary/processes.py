"""Processes that torchrun started and that share a presentation: each summarizes a part, then they merge."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from .summary import Summary

TIMEOUT = timedelta(hours=1)
"""How long a process waits for another one, which may be slower, before it gives up."""


@dataclass(frozen=True)
class Process:
    """One of the processes that share a presentation.

    Parameters
    ----------
    rank : int
        Its number, from 0; the one of rank 0 gets the result.
    n_ranks : int
        How many there are.
    device : str or torch.device, optional
        Where its model shall run; None: where it is.

    Examples
    --------
    >>> Process().is_first, Process(1, 2).is_first
    (True, False)
    """

    rank: int = 0
    n_ranks: int = 1
    device: Any = None

    @property
    def is_first(self) -> bool:
        """Whether it is the one that gets, shows and saves the result."""
        return self.rank == 0


@contextmanager
def process_group(device: Any = None, timeout: timedelta = TIMEOUT) -> Iterator[Process]:
    """Join the processes that torchrun started; without torchrun, be the only one.

    Parameters
    ----------
    device : str or torch.device, optional
        Where the model shall run. With ``"cuda"``, each process takes a GPU of its machine and they talk
        through NCCL; else through gloo.
    timeout : datetime.timedelta
        How long to wait for another process before giving up. One that dies is noticed at once by gloo,
        and torchrun ends the others.

    Yields
    ------
    Process
        Which of them this is. The group is dissolved at the end, also after an exception.

    Raises
    ------
    ValueError
        If there are more processes on this machine than GPUs, or one GPU is named for all of them.

    Examples
    --------
    >>> with process_group() as process:
    ...     process.rank, process.n_ranks
    (0, 1)
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        yield Process(device=device)
        return
    rank, n_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    own = None
    if device is not None and torch.device(device).type == "cuda":
        own = _gpu(torch.device(device), int(os.environ.get("LOCAL_RANK", rank)), n_ranks)
        torch.cuda.set_device(own)
    dist.init_process_group("gloo" if own is None else "nccl", timeout=timeout, device_id=own)
    try:
        yield Process(rank, n_ranks, own or device)
    finally:
        dist.destroy_process_group()


def _gpu(device: torch.device, local_rank: int, n_ranks: int) -> torch.device:
    """Return the GPU of a process."""
    if device.index is not None and n_ranks > 1:
        raise ValueError(
            f"device {device} for {n_ranks} processes: give cuda, and each takes a GPU of its own"
        )
    n_gpus = torch.cuda.device_count()
    if local_rank >= n_gpus:
        raise ValueError(
            f"process {local_rank} of this machine finds no GPU of its own among {n_gpus}: start as many "
            "processes as there are GPUs (torchrun --nproc-per-node)"
        )
    return torch.device("cuda", local_rank if device.index is None else device.index)


def merge_ranks(summary: Summary | None) -> Summary | None:
    """Merge the summaries of all processes of the group on the one of rank 0, which is their result.

    Adjacent ranks merge first, then adjacent pairs, and so on: for n processes in log₂ n rounds. All
    processes have to call this, and go on together when all is merged.

    Parameters
    ----------
    summary : Summary or None
        This process's stretch, which follows that of the rank before; None if it has no stimuli.

    Returns
    -------
    Summary or None
        On rank 0 that of all stretches, on the CPU; elsewhere None. Without a group, what was given.

    Raises
    ------
    RuntimeError
        If another process died, or is later than the timeout of the group.
    ValueError
        If the summaries do not fit, or no process has one.

    Examples
    --------
    >>> merge_ranks(Summary(2).update({"relu": torch.ones(4, 3)})).n_bins
    4
    """
    if not dist.is_initialized():
        return summary
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    merged = None if summary is None else summary.to("cpu")
    distance = 1
    while distance < n_ranks and rank % (2 * distance) == 0:
        other = rank + distance
        if other < n_ranks:
            merged = _join(merged, _receive(other), rank, other)
        distance *= 2
    if rank > 0:
        _send(merged, rank - distance)
    elif merged is None:
        raise ValueError("there is nothing to merge: no process has a summary")
    with _waiting_for("the others, one of which"):
        dist.barrier()  # that nobody ends as if all were well when it is not
    return merged if rank == 0 else None


def _join(one: Summary | None, other: Summary | None, rank: int, other_rank: int) -> Summary | None:
    if one is None or other is None:
        return other if one is None else one
    try:
        return one.merge(other)
    except ValueError as error:
        raise ValueError(f"the summaries of ranks {rank} and {other_rank}: {error}") from error


def _send(summary: Summary | None, rank: int) -> None:
    header, tensors = (None, []) if summary is None else _apart(summary.state_dict())
    with _waiting_for(f"rank {rank}, which"):
        dist.send_object_list([header], rank, device=_device())
        for tensor in tensors:
            if tensor.numel():
                dist.send(tensor.to(_device()), rank)


def _receive(rank: int) -> Summary | None:
    header: list[Any] = [None]

    def fill(empty: torch.Tensor) -> torch.Tensor:
        tensor = torch.empty_like(empty, device=_device())
        if tensor.numel():
            dist.recv(tensor, rank)
        return tensor.cpu()

    with _waiting_for(f"rank {rank}, which"):
        dist.recv_object_list(header, rank, device=_device())
        return None if header[0] is None else Summary.from_state_dict(_map_tensors(fill, header[0]))


def _apart(state: Mapping[str, Any]) -> tuple[Any, list[torch.Tensor]]:
    """Return a state_dict with tensors that have shape and type only, and apart from it the tensors."""
    tensors: list[torch.Tensor] = []

    def take(tensor: torch.Tensor) -> torch.Tensor:
        tensors.append(tensor)
        return tensor.to("meta")

    return _map_tensors(take, state), tensors


def _map_tensors(function: Any, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _map_tensors(function, each) for key, each in value.items()}
    return [_map_tensors(function, each) for each in value] if isinstance(value, list) else value


def _device() -> torch.device:
    """Return where tensors have to be for this group to carry them."""
    on_gpu = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


@contextmanager
def _waiting_for(whom: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"rank {dist.get_rank()} waited in vain for {whom} has died or is too late; look for the first "
            f"error of all ({error})"
        ) from error
