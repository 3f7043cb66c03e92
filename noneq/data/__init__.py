"""Data sets by name or from files, and the checks every set passes before training."""

from noneq.data.checks import check_data, check_rows
from noneq.data.digits import Split, digits
from noneq.data.noise import add_noise
from noneq.data.readers import Rows, read

__all__ = ["Rows", "Split", "add_noise", "check_data", "check_rows", "digits", "read"]
