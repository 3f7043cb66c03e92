"""Training of energies: maximum likelihood with weighted walkers, and denoising score matching.

Walkers are samples that follow the model by Markov chain moves, with importance weights that
correct for their lag behind the changing parameters.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
