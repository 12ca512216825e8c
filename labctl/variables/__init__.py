"""Variables: precedence, lazy rendering, templates, filters, tests and lookups."""

from labctl.variables.loops import loop_items
from labctl.variables.omit import OMIT
from labctl.variables.precedence import Plan
from labctl.variables.ready import ReadyScope, SteadyScope, Waits
from labctl.variables.scope import Late, Scope, is_constant
from labctl.variables.sources import load_vars_file, load_vars_files, parse_extra_vars
from labctl.variables.templar import Templar, is_template
from labctl.variables.unknown import Unknown, contains_unknown, shown

__all__ = [
    "OMIT",
    "Late",
    "Plan",
    "ReadyScope",
    "Scope",
    "SteadyScope",
    "Templar",
    "Unknown",
    "Waits",
    "contains_unknown",
    "is_constant",
    "is_template",
    "load_vars_file",
    "load_vars_files",
    "loop_items",
    "parse_extra_vars",
    "shown",
]
