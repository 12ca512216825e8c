"""Fail unless all these expressions are true. In a dry run they are evaluated as well.

Returns, on failure, assertion (the expression), evaluated_to, and msg with the values it was about.
"""

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg
from labctl.variables import is_template
from labctl.yaml import mark_of

ON_CONTROLLER = True
COMPUTES = True


@dataclass(kw_only=True)
class Arguments(Args):
    that: Any = arg(doc="An expression, or a list of them.", raw=True)
    fail_msg: Any = arg(None, doc="What to say when one is false: a text or a list.", aliases=("msg",))
    success_msg: Any = arg(None, doc="What to say when all are true.")
    quiet: bool = arg(False, doc="Do not report what was evaluated.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    scope: Any = ctx.variables
    for expression in _expressions(args.that, ctx):
        if not scope.condition(expression, mark_of(expression, ctx.mark)):
            found: dict[str, Any] = {"assertion": expression, "evaluated_to": False}
            if isinstance(args.fail_msg, list):
                return {"failed": True, "msg": args.fail_msg, "changed": False, **found}
            said = "Assertion failed" if args.fail_msg is None else str(args.fail_msg)
            raise TaskFailed(said, mark=mark_of(expression, ctx.mark), **found)
    return {"msg": args.success_msg or "All assertions passed", "changed": False}


def _expressions(that: Any, ctx: Context) -> list[Any]:
    """The single expressions; a template may stand for a list of values."""
    if isinstance(that, list):
        return that
    if isinstance(that, str) and is_template(that) and that.strip().startswith("{{"):
        found: Any = ctx.template(that)
        if isinstance(found, list) and all(isinstance(value, bool) for value in found):
            return found
    return [that]
