"""Ctrl-C while cells run: the first lets them finish, the second ends at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from tqdm import tqdm

PRESSED = (
    "\ninterrupted: the cells that run now are finished and stored, and no other begins. Press Ctrl-C again "
    "to end at once\n"
)


@contextmanager
def interruptible(at_once: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C, and let a second one end the block.

    Parameters
    ----------
    at_once : callable
        Called by the second Ctrl-C, before KeyboardInterrupt is raised.

    Yields
    ------
    callable
        Returns whether Ctrl-C was pressed: then nothing more should begin.

    Raises
    ------
    KeyboardInterrupt
        At the second Ctrl-C; or at the end of the block, if there was one.

    Examples
    --------
    >>> done = []
    >>> try:
    ...     with interruptible(lambda: None) as pressed:
    ...         for cell in range(9):
    ...             if not pressed():
    ...                 done.append(cell)
    ...                 signal.raise_signal(signal.SIGINT)
    ... except KeyboardInterrupt:
    ...     print(done)
    [0]
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: False  # signals do not come here, or are ignored
        return
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) == 1:
            with suppress(RuntimeError):  # Ctrl-C came in the middle of a write
                sys.stderr.write(PRESSED)
                sys.stderr.flush()
            return
        signal.signal(signal.SIGINT, before)
        at_once()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Start processes in this block which Ctrl-C does not reach: they inherit that it is blocked."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def begin_worker() -> None:
    """Leave Ctrl-C to the process that started this one, and make nothing that it would leave behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # by default it is a semaphore, and stays if the process is killed
