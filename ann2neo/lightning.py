"""A short door to the callback for Lightning: ``from ann2neo.lightning import MonitorCallback``."""

from .model.lightning import MonitorCallback

__all__ = ["MonitorCallback"]
