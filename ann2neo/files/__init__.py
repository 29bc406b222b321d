"""Recordings and tables in files: written whole or not at all, checked before they are read."""

from .save_load import SUFFIXES, load, save

__all__ = ["SUFFIXES", "load", "save"]
