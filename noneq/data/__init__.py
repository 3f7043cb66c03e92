"""Named data sets and the checks every set passes before training."""

from noneq.data.checks import check_data
from noneq.data.digits import Split, digits

__all__ = ["Split", "check_data", "digits"]
