r"""Pictures of a run: how it went, what it learned, and where to doubt it.

Every figure is a pure function of plain values to a ``matplotlib.figure.Figure``, made without
pyplot: no backend is chosen and no setting changes. The caller saves it, ``figure.savefig(path)``.
"""

from noneq.figures.distributions import Energies, Samples, energies_figure, samples_figure
from noneq.figures.filters import Filters, filters_figure
from noneq.figures.progress import training_figure
from noneq.figures.report import report_figure
from noneq.figures.work import crooks_figure

__all__ = [
    "Energies",
    "Filters",
    "Samples",
    "crooks_figure",
    "energies_figure",
    "filters_figure",
    "report_figure",
    "samples_figure",
    "training_figure",
]
