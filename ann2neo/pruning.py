"""A short door to pruning: ``from ann2neo.pruning import prune``."""

from .study.pruning import SCORES, Prunable, importance, prunable, prune

__all__ = ["SCORES", "Prunable", "importance", "prunable", "prune"]
