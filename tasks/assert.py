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


@dataclass(kw_only=True)
class Arguments(Args):
    that: Any = arg(doc="An expression, or a list of them.", raw=True)
    fail_msg: Any = arg(None, doc="What to say when one is false: a text or a list.", aliases=("msg",))
    success_msg: Any = arg(None, doc="What to say when all are true.")
    quiet: bool = arg(False, doc="Do not report what was evaluated.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    for expression in args.that if isinstance(args.that, list) else [args.that]:
        value = _value(expression, ctx)
        if not isinstance(value, bool):
            raise TaskFailed(
                f"'{expression}' must be true or false, and is {value!r}",
                mark=mark_of(expression, ctx.mark),
                hint="compare it, or use a test: == …, is defined, | length > 0, | bool",
            )
        if not value:
            found: dict[str, Any] = {"assertion": str(expression), "evaluated_to": False}
            if isinstance(args.fail_msg, list):
                return {"failed": True, "msg": args.fail_msg, "changed": False, **found}
            said = "Assertion failed" if args.fail_msg is None else str(args.fail_msg)
            raise TaskFailed(said, mark=mark_of(expression, ctx.mark), **found)
    return {"msg": args.success_msg or "All assertions passed", "changed": False}


def _value(expression: Any, ctx: Context) -> Any:
    if not isinstance(expression, str):
        return expression
    if is_template(expression):
        text = ctx.template(expression)
        return {"True": True, "False": False}.get(text, text)
    return ctx.evaluate(expression)
