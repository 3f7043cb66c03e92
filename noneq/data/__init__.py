"""Data sets by name or from files, and the checks every set passes before training."""

from noneq.data.checks import check_data, check_rows, is_discrete
from noneq.data.digits import Split, digits
from noneq.data.files import Frame
from noneq.data.noise import add_noise
from noneq.data.readers import Rows, read
from noneq.data.scaling import Scaling
from noneq.data.sets import DataSet, load, rows_like

__all__ = [
    "DataSet",
    "Frame",
    "Rows",
    "Scaling",
    "Split",
    "add_noise",
    "check_data",
    "check_rows",
    "digits",
    "is_discrete",
    "load",
    "read",
    "rows_like",
]
