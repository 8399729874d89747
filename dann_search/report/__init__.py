"""What does an experiment say on one page: what was found, how good it is, and why.

Start with ``write.py``. ``content.py`` gathers everything from ``results``, ``inference`` and
``evaluation``; ``page.py`` and ``figures/`` draw it. May import neither ``search`` nor ray.
"""

from dann_search.outputs.report import Report
from dann_search.report.write import write_report

__all__ = ["Report", "write_report"]
