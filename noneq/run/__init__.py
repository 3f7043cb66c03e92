"""A training run in a folder on disk: from its recipe to its likelihood, samples and scores."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
