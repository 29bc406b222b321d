"""One network before training, one that generalizes and one that memorizes: recorded, tested, drawn.

The whole road on real images and without a download: ``ann2neo demo`` on the command line.
"""

from .demonstration import run
from .networks import Digits, Trained, digits, record_networks, train_networks
from .tables import TABLE, WINDOW

__all__ = ["TABLE", "WINDOW", "Digits", "Trained", "digits", "record_networks", "run", "train_networks"]
