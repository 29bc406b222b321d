"""Units removed by how they fire: layers that can lose units, scores for torch's own pruning, biases."""

from .removal import prune
from .scores import SCORES, importance
from .units import Prunable, prunable

__all__ = ["SCORES", "Prunable", "importance", "prunable", "prune"]
