"""The test that a transition kernel must pass, and the targets that it is judged on."""

from noneq.testing.kernels import check_kernel

__all__ = ["check_kernel"]
