"""`vars_prompt`: what a play asks the user before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labctl import vault, yaml
from labctl.errors import LabctlError
from labctl.events import Kind

if TYPE_CHECKING:
    from labctl.engine.state import Run
    from labctl.playbook import Play


def answers(run: Run, play: Play) -> dict[str, Any]:
    """The play's variables that -e does not give; without a terminal the default must do, or nothing. Raises Interrupted,
    UsageError where the input ends, and VariableError where an answer cannot be encrypted."""
    found: dict[str, Any] = {}
    for prompt in play.vars_prompt:
        name = str(prompt["name"])
        if name in run.options.extra_vars:
            continue
        if run.options.ask is None and "default" not in prompt:
            found[name] = "None"
            mark = yaml.mark_of(prompt, play.mark)
            message = (
                f"'{name}' must be asked for, and this is no terminal: it is None (-e {name}=… gives it)"
            )
            run.bus.emit(Kind.WARNING, message=message, mark=str(mark))
            continue
        said = _asked(run, prompt) or prompt.get("default", "")
        found[name] = _encrypted(said, prompt)
        if run.options.ask is not None and prompt.get("private", True):
            for secret in {said, found[name]}:
                vault.current().masks.add(secret, open_=True)
    return found


def _asked(run: Run, prompt: Mapping[str, Any]) -> str:
    """The answer, the same twice where it is to be confirmed; nothing without a terminal."""
    ask = run.options.ask
    if ask is None:
        return ""
    text, private = str(prompt.get("prompt") or prompt["name"]), bool(prompt.get("private", True))
    shown = f"{text} [{prompt['default']}]" if prompt.get("default") is not None else text
    while True:
        answer = ask(shown, private, run.stop.check)
        if not prompt.get("confirm") or ask(f"confirm {text}", private, run.stop.check) == answer:
            return answer
        run.bus.emit(Kind.MESSAGE, message="the values entered do not match")


def _encrypted(answer: Any, prompt: Mapping[str, Any]) -> Any:
    if not prompt.get("encrypt"):
        return answer
    from labctl.variables.filters.passwords import password_hash

    scheme, salt, size = str(prompt["encrypt"]), prompt.get("salt"), prompt.get("salt_size")
    try:
        return password_hash(answer, scheme, salt=salt, salt_size=size)
    except LabctlError as error:
        error.mark = error.mark or yaml.mark_of(prompt)
        raise
