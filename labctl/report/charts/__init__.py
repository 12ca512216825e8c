"""The report's pictures: each a dataclass of what it shows, and how that is drawn."""

from labctl.report.charts.bars import Bar, Bars
from labctl.report.charts.forest import Forest, Row
from labctl.report.charts.paired import Paired, Panel
from labctl.report.charts.timeline import Line, Plot, Timeline

__all__ = ["Bar", "Bars", "Forest", "Line", "Paired", "Panel", "Plot", "Row", "Timeline"]
