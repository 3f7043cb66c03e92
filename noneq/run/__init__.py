"""Training runs in a folder on disk: from a recipe to the likelihood, samples and scores.

`choose` makes a recipe, i.e. all settings of a training, and `choose_base` chooses, by the
validation rows, the base that training starts from. A `Session` is one training in memory by
a recipe; a `Run` is the folder of a training; and `supervise` trains with checkpoints and
rollbacks. Afterwards `noneq.run.evaluation` estimates log Z by forward and by backward annealing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
