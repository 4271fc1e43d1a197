"""Reports: one folder of results as one HTML page."""

from ganatomy.report.page import write_report

__all__ = ["write_report"]
