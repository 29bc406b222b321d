"""Processes that torchrun started: each summarizes a part of one presentation, then all merge."""

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
"""How long a process waits for a slower one before it gives up."""


@dataclass(frozen=True)
class Process:
    """One of the processes that share a presentation.

    Parameters
    ----------
    rank : int
        Its number, from 0. Rank 0 gets the result.
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
        """Whether this process gets the result, and so shows and saves it."""
        return self.rank == 0


@contextmanager
def process_group(device: Any = None, timeout: timedelta = TIMEOUT) -> Iterator[Process]:
    """Join the processes that torchrun started; without torchrun, this process is the only one.

    Parameters
    ----------
    device : str or torch.device, optional
        Where the model shall run. With ``"cuda"``, each process takes a GPU of its machine, and they talk
        through NCCL; otherwise through gloo.
    timeout : datetime.timedelta
        How long to wait for another process before giving up. One that dies is noticed at once by gloo,
        and torchrun ends the others.

    Yields
    ------
    Process
        Which process this is. The group is dissolved at the end, also after an exception.

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
            f"device {device} for {n_ranks} processes: give cuda, so that each takes its own GPU"
        )
    n_gpus = torch.cuda.device_count()
    if local_rank >= n_gpus:
        raise ValueError(
            f"process {local_rank} of this machine finds no GPU of its own among {n_gpus}: start only as "
            "many processes as there are GPUs (torchrun --nproc-per-node)"
        )
    return torch.device("cuda", local_rank if device.index is None else device.index)


def merge_ranks(summary: Summary | None) -> Summary | None:
    """Merge the summaries of all processes of the group; rank 0 gets the result.

    Adjacent ranks merge first, then adjacent pairs, and so on: n processes take log₂ n rounds. All
    processes must call this. They go on together when all is merged.

    Parameters
    ----------
    summary : Summary or None
        This process's stretch. It follows that of the rank before. None if the process has no stimuli.

    Returns
    -------
    Summary or None
        On rank 0 the summary of all stretches, on the CPU; elsewhere None. Without a group, what was given.

    Raises
    ------
    RuntimeError
        If another process died, or came later than the timeout of the group.
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
        raise ValueError(
            "no process has a summary, so there is nothing to merge: give stimuli to one at least"
        )
    with _waiting_for("the others"):
        dist.barrier()  # if one failed, none ends as if all were well
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
    with _waiting_for(f"rank {rank}"):
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

    with _waiting_for(f"rank {rank}"):
        dist.recv_object_list(header, rank, device=_device())
        return None if header[0] is None else Summary.from_state_dict(_map_tensors(fill, header[0]))


def _apart(state: Mapping[str, Any]) -> tuple[Any, list[torch.Tensor]]:
    """Return a state_dict whose tensors have only shape and type, and the tensors themselves."""
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
    """Return where tensors must be, so that this group can carry them."""
    on_gpu = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


@contextmanager
def _waiting_for(whom: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"rank {dist.get_rank()} waited for {whom}, but got no answer: a process died or is too late. "
            f"Look for the error that came first ({error})"
        ) from error
