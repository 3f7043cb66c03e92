from .folder import RolledBack as RolledBack
from .folder import Run as Run
from .recipe import Recipe as Recipe
from .recipe import choose as choose
from .session import Session as Session
