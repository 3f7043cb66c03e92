"""A report of one run, or of several, as one HTML file that fetches nothing.

Its figures are drawn by plotly, whose script is part of the file, and
can be zoomed and read value by value.
"""

from noneq.report.html.comparison import place_of_comparison, write_comparison
from noneq.report.html.run_page import write_report

__all__ = ["place_of_comparison", "write_comparison", "write_report"]
