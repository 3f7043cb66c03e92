"""Figures of a training run or of any weighted sample, by matplotlib.

There are figures of training metrics, of samples beside data, of energies, of the filters of an
RBM (the columns of the weight matrix), of the work of forward and backward annealing, and one page
that shows a whole run.
"""

from noneq.report.crooks import crooks_figure
from noneq.report.distributions import Energies, Samples, energies_figure, samples_figure
from noneq.report.filters import Filters, filters_figure
from noneq.report.page import report_figure
from noneq.report.training import training_figure

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
