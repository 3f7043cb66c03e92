"""Data sets by name or from files: reading, checking, splitting and scaling.

`load` reads a data set and returns a `DataSet`, split and scaled for training; `read` returns the
rows of a file unchanged; and `check_data` raises an error for rows to which no density can be
fitted.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
