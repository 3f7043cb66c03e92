"""Maximum-likelihood energy-based models with weighted walkers and a known normalising constant.

The 25 names here are those of everyday use; everything else is in the folder that is called after
it, e.g. ``noneq.kernels.DiscreteLangevin``. A name is imported when it is first asked for.

>>> import torch, noneq
>>> base = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity())
>>> noneq.Walkers.sample(base, 64, torch.Generator()).ess
1.0
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
