"""Show a text or the value of an expression."""

from dataclasses import dataclass
from typing import Any

from labctl.errors import UndefinedVariable
from labctl.task_types import Args, Context, arg
from labctl.variables import is_template

ON_CONTROLLER = True
COMPUTES = True


@dataclass(kw_only=True)
class Arguments(Args):
    msg: Any = arg("Hello world!", doc="What to show: a text, or any value.")
    var: Any = arg(None, doc="An expression whose value to show, without braces.", raw=True)
    verbosity: int = arg(0, doc="Show it from this many -v on.")

    mutually_exclusive = (("msg", "var"),)


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    if ctx.verbosity < args.verbosity:
        return {"skipped": True, "skipped_reason": "Verbosity threshold not met."}
    if args.var is None:
        return {"msg": args.msg, "changed": False}
    return {str(args.var): _value(args.var, ctx), "changed": False}


def _value(expression: Any, ctx: Context) -> Any:
    if not isinstance(expression, str):
        return expression
    bare = expression.strip()
    if is_template(bare) and bare.startswith("{{") and bare.endswith("}}") and "}}" not in bare[2:-2]:
        bare = bare[2:-2]
    try:
        return ctx.template(bare) if is_template(bare) else ctx.evaluate(bare)
    except UndefinedVariable as error:
        return f"<< error 1 - {error.message} >>"  # Ansible's words, which playbooks compare
