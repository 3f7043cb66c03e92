"""Data sets by name or from files: reading, checking, splitting and scaling.

`load` makes a `DataSet` ready to train on, `read` gives the rows of a file unchanged, and
`check_data` refuses rows to which no density can be fitted.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
