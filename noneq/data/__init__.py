"""Named data sets and the checks every set passes before training."""

from noneq.data.checks import check_data, check_rows
from noneq.data.digits import Split, digits

__all__ = ["Split", "check_data", "check_rows", "digits"]
