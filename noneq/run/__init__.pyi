from .bases import choose_base as choose_base
from .choosing import choose as choose
from .folder import Run as Run
from .recipe import Recipe as Recipe
from .session import Session as Session
from .supervise import DivergedError as DivergedError
from .supervise import RolledBack as RolledBack
from .supervise import supervise as supervise
