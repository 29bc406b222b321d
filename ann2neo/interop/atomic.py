"""Files that appear under their name when they are complete. Until then, the old file stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Yield the path of a new file to write; when the block ends well, the file takes its real name.

    Parameters
    ----------
    path : path
        The real name; its suffix is that of the path to write, too.
    overwrite : bool
        Replace a file that exists.

    Raises
    ------
    FileExistsError
        If the file exists, perhaps made by another process meanwhile, and ``overwrite`` is not given.

    Notes
    -----
    A process that is killed leaves a folder ``.ann2neo-...`` beside the file. It disturbs no later writing
    and may be deleted.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(f"{folder}/greeting.txt") as part:
    ...         _ = part.write_text("hello")
    ...         print(os.path.exists(f"{folder}/greeting.txt"))
    ...     Path(f"{folder}/greeting.txt").read_text()
    False
    'hello'
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix=".ann2neo-", dir=path.parent) as folder:
        part = Path(folder) / f"part{path.suffix.lower()}"
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        _give_its_name(part, path, overwrite=overwrite)


def _give_its_name(part: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a complete file; another process may be about to give the same name to another one."""
    if not overwrite:
        try:
            os.link(part, path)  # a rename would replace what is there
            return
        except FileExistsError:
            raise
        except OSError:
            check_can_be_written(path)  # the file system has no hard links: look once more, then rename
    part.replace(path)


def check_can_be_written(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise if a file exists, or its folder does not or is not writable."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be saved: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists: give overwrite=True (on the command line --overwrite) to replace it"
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be saved: the folder {path.parent} is not writable")
