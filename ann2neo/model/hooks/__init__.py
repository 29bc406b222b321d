"""What each selected place in a model gives in one forward pass, watched without a trace."""

from .hooks import Hooks
from .selection import Selection

__all__ = ["Hooks", "Selection"]
