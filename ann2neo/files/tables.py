"""Tables in files: ``.csv`` for people, ``.parquet`` for tables of millions of units."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..interop.atomic import check_can_be_written, written_whole
from ..interop.extras import check_installed

if TYPE_CHECKING:
    import pandas as pd


TABLE_SUFFIXES = (".csv", ".parquet")
"""The suffixes that name a format of tables."""


def save_table(table: pd.DataFrame, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a table, without its index, to a file that appears under its name when it is complete.

    Parameters
    ----------
    table : pandas.DataFrame
        Say ``summary.units``.
    path : path
        Where to; the suffix is one of :data:`TABLE_SUFFIXES`.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    FileExistsError, FileNotFoundError, ImportError, ValueError
        As by :func:`check_can_be_tabled`, before anything is written.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_table(pd.DataFrame({"unit": [0, 1]}), f"{folder}/units.csv").read_text().split()
    ['unit', '0', '1']
    """
    path = Path(path)
    check_can_be_tabled(path, overwrite=overwrite)
    with written_whole(path, overwrite=overwrite) as part:
        if path.suffix.lower() == ".csv":
            table.to_csv(part, index=False)
        else:
            table.to_parquet(part, index=False)
    return path


def check_can_be_tabled(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise what :func:`save_table` would raise, before the work is done whose result is to be saved.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is not given.
    FileNotFoundError
        If the folder does not exist.
    ImportError
        If pyarrow, which writes Parquet, is not installed.
    ValueError
        If the suffix is not one of :data:`TABLE_SUFFIXES`.
    """
    path = Path(path)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise ValueError(
            f"{path}: a table cannot have the suffix {path.suffix!r}: give one of {', '.join(TABLE_SUFFIXES)}"
        )
    check_can_be_written(path, overwrite=overwrite)
    if path.suffix.lower() == ".parquet":
        check_installed("pyarrow", by="Parquet", extra="parquet")
