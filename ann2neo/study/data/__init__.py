"""Stimuli by name or from a file: data sets, image folders and arrays, in a stored order."""

from .loading import load_data
from .named_sets import NAMES
from .preparation import Preparation
from .stimulus_set import StimulusSet

__all__ = ["NAMES", "Preparation", "StimulusSet", "load_data"]
