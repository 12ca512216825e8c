"""The report's pictures: each a dataclass of what it shows, and how that is drawn."""

from labctl.report.charts.bars import Bar, Bars
from labctl.report.charts.forest import Forest, Row
from labctl.report.charts.gauge import Gauge, Gauges
from labctl.report.charts.load import Edge, Load, LoadPlot, Spot
from labctl.report.charts.paired import Paired, Panel
from labctl.report.charts.timeline import Line, Plot, Timeline
from labctl.report.charts.trace import Trace, Way

__all__ = [
    "Bar",
    "Bars",
    "Edge",
    "Forest",
    "Gauge",
    "Gauges",
    "Line",
    "Load",
    "LoadPlot",
    "Paired",
    "Panel",
    "Plot",
    "Row",
    "Spot",
    "Timeline",
    "Trace",
    "Way",
]
