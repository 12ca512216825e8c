"""labctl: prove a number on a lab of machines, over SSH."""

__version__ = "0.1.0"
