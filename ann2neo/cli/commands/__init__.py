"""All commands, in the order in which ``ann2neo --help`` lists them; each is a file with its options."""

from .compare import COMPARE
from .convert import CONVERT
from .demo import DEMO
from .info import INFO
from .layers import LAYERS
from .merge import MERGE
from .plot import PLOT
from .record import RECORD
from .stream import STREAM
from .study import STUDY
from .summarize import SUMMARIZE

COMMANDS = (DEMO, LAYERS, RECORD, STREAM, MERGE, SUMMARIZE, INFO, CONVERT, PLOT, COMPARE, STUDY)

__all__ = ["COMMANDS"]
