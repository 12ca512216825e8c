"""labctl watching itself: what a run costs the controller."""

from labctl.monitor.cost import CostMeter

__all__ = ["CostMeter"]
