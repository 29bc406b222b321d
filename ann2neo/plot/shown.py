"""Figures that show themselves: in notebooks, and by ``plt.show()``."""

from __future__ import annotations

import io
import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(**how: Any) -> Figure:
    """Return a figure that pyplot knows, so that ``plt.show()`` and the end of a notebook's cell show it.

    As the last expression of a cell it is shown too, and once. Who saves it and needs it no more calls
    ``plt.close(figure)``.

    Parameters
    ----------
    **how
        For :class:`matplotlib.figure.Figure`.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> figure = new_figure(figsize=(2, 1))
    >>> plt.fignum_exists(figure.number)
    True
    >>> plt.close(figure)
    """
    import matplotlib.pyplot as plt

    return plt.figure(FigureClass=_shown_once(), **how)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Save a figure that nobody is going to look at, and let pyplot forget it."""
    import matplotlib.pyplot as plt

    figure.savefig(path)
    plt.close(figure)


@cache
def _shown_once() -> type[Figure]:
    """Return the class of such figures. It is made when it is needed, since matplotlib takes a second."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    class Shown(Figure):
        def _ipython_display_(self) -> None:
            """Show the figure in a notebook; pyplot then does not show it again at the end of the cell."""
            image = io.BytesIO()
            self.savefig(image, format="png")
            plt.close(self)
            display = import_module("IPython.display").display  # whoever calls this has IPython
            display({"image/png": image.getvalue(), "text/plain": repr(self)}, raw=True)

    return Shown
