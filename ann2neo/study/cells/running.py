"""The cells of a study, run one after the other or beside one another in processes."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ...recording.caller import warn_caller
from ...summary.remarks import Remark, few_windows
from ..regimes import REGIMES
from .cell import run_cell
from .grid import Cell, Study
from .images import images
from .interruption import begin_worker, interruptible, without_ctrl_c
from .results import Results, load_study
from .storage import is_done, with_what_is_there, write_study


def run_study(
    folder: str | os.PathLike[str],
    study: Study,
    *,
    processes: int | None = None,
    device: str = "cpu",
    root: Any = None,
    download: bool = False,
    progress: bool = False,
) -> Results:
    """Run all cells of a study that are not done yet.

    Parameters
    ----------
    folder : path
        Where cells are stored; made if it does not exist. A study that stopped goes on from what is there,
        another grid of the same settings adds to it; cells that failed are tried again.
    study : Study
        What to run.
    processes : int, optional
        Cells at a time, by default one a core on the CPU, one on a GPU.
    device : str
        Where networks are trained.
    root : path, optional
        Folder of the data sets, by default ``data``: see :func:`ann2neo.study.data.load_data`.
    download : bool
        Let torchvision download data sets that are not there.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Results
        All that is in the folder. A cell that diverged, failed, or did not reach its accuracy says so as its
        ``status`` in ``Results.cells``.

    Raises
    ------
    ValueError
        If the folder holds a study with other settings, which the message names.
    FileNotFoundError
        If the data are not there, before anything is run.
    KeyboardInterrupt
        After Ctrl-C. At the first, cells that run are finished and stored and no other begins; a second ends
        at once. What is stored stays, and the same study goes on from there.

    Examples
    --------
    >>> import tempfile
    >>> study = Study(regimes=("random",), seeds=1, n_stimuli=200, n_orders=1)
    >>> results = run_study(tempfile.mkdtemp(), study, processes=1)
    >>> results.cells[["data", "architecture", "regime", "seed", "status"]].to_numpy().tolist()
    [['digits', 'mlp', 'random', 0, 'done']]
    """
    folder, where = Path(folder), {"root": root, "download": download}
    together = with_what_is_there(folder, study)
    for data in study.data:
        images(study, data, 0, **where)  # raises now, not in every cell
    write_study(folder, together)
    n_shown = min(study.n_stimuli, study.n_training)
    if few := few_windows(n_shown // study.window, study.window, (n_shown,)):
        warn_caller(few, Remark)
    todo = [cell for cell in study.cells if not is_done(cell, folder)]
    processes = processes or (1 if device != "cpu" else os.cpu_count() or 1)
    with tqdm(
        total=len(study.cells), initial=len(study.cells) - len(todo), unit=" cells", disable=not progress
    ) as bar:
        for wave in _waves(todo):
            for cell, status in _run_cells(study, wave, folder, device, where, processes):
                bar.update()
                bar.set_postfix_str(f"{cell}: {status}")
    return load_study(folder)


def _waves(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Put cells that need others into a second wave."""
    waves: tuple[list[Cell], list[Cell]] = ([], [])
    for cell in cells:
        waves[REGIMES[cell.regime].needs is not None].append(cell)
    return [wave for wave in waves if wave]


def _run_cells(
    study: Study, cells: list[Cell], folder: Path, device: str, where: Mapping[str, Any], processes: int
) -> Iterator[tuple[Cell, str]]:
    """Run cells; after Ctrl-C those that run are finished, and no other begins."""
    if processes == 1:
        threads = torch.get_num_threads()
        try:
            with interruptible(lambda: None) as pressed:
                for cell in cells:
                    if not pressed():
                        yield cell, run_cell(study, cell, folder, device, where)
        finally:
            torch.set_num_threads(threads)
        return
    others = set(multiprocessing.active_children())

    def kill() -> None:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()

    # a forked process would inherit torch's threads in a state nobody knows
    spawn = multiprocessing.get_context("spawn")
    with (
        interruptible(kill) as pressed,
        ProcessPoolExecutor(processes, mp_context=spawn, initializer=begin_worker) as pool,
    ):
        todo, running = deque(cells), dict[Future[str], Cell]()
        while running or (todo and not pressed()):
            # no more are submitted than run: what waits in the pool could not be held back
            while todo and len(running) < processes and not pressed():
                with without_ctrl_c():
                    future = pool.submit(run_cell, study, todo[0], folder, device, where)
                running[future] = todo.popleft()
            done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
