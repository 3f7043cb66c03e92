"""Training runs in a folder on disk: from a recipe to the likelihood, samples and scores.

`choose` makes a recipe, a `Session` trains by it in memory, a `Run` is its folder, and `supervise`
trains with checkpoints and rollbacks. `noneq.run.evaluation` brackets the likelihood afterwards.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
