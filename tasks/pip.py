"""Install, upgrade or remove Python packages of the host with its pip, also in a virtual environment.

What is installed already costs one look and no pip. A dry run knows what named packages need; what a requirements
file or `state: latest` would bring is unknown there.
Returns cmd, name, version, state, requirements, virtualenv, stdout, stderr.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files.paths import on_node
from labctl.node.api import Completed
from labctl.task_types import Args, Change, Context, Steps, arg

_STATES = {
    "present": ["install"],
    "absent": ["uninstall", "-y"],
    "latest": ["install", "-U"],
    "forcereinstall": ["install", "-U", "--force-reinstall"],
}


@dataclass(kw_only=True)
class Arguments(Args):
    name: list[str] = arg([], doc="Packages with their versions ('django>=4,<5'), files or addresses.")
    version: str | None = arg(None, doc="The version of the one package in `name`.")
    requirements: str | None = arg(None, doc="A requirements file of the host.")
    state: str = arg("present", doc="What shall be there.", choices=tuple(_STATES))
    virtualenv: str | None = arg(None, doc="A virtual environment, which is made where there is none.")
    virtualenv_site_packages: bool = arg(False, doc="Let it see the system's packages.")
    virtualenv_command: str = arg("virtualenv", doc="What makes it, like 'python3 -m venv'.")
    virtualenv_python: str | None = arg(None, doc="The Python it is made with (virtualenv only).")
    extra_args: str | None = arg(None, doc="More words for pip.")
    editable: bool = arg(False, doc="Install with -e.")
    chdir: str | None = arg(None, doc="Run pip in this directory.")
    executable: str | None = arg(None, doc="The pip to use, like 'pip3.11'.")
    umask: str | None = arg(None, doc="For what is installed: an octal number.")
    break_system_packages: bool = arg(False, doc="Write where the system's package manager writes, too.")

    required_one_of = (("name", "requirements"),)
    mutually_exclusive = (("name", "requirements"), ("executable", "virtualenv"))


def run(args: Arguments, ctx: Context) -> Steps:
    if args.state == "latest" and args.version is not None:
        raise TaskFailed("version is incompatible with state=latest")
    folder = on_node(ctx, args.chdir) if args.chdir else None
    env = on_node(ctx, args.virtualenv) if args.virtualenv else None
    if env and folder and not env.startswith("/"):
        env = f"{folder}/{env}"
    names = _names(args)
    found = ctx.node.call("pip", "look", virtualenv=env, executable=args.executable)
    values: dict[str, Any] = {
        "name": args.name or None,
        "version": args.version,
        "state": args.state,
        "requirements": args.requirements,
        "virtualenv": env,
    }
    argv = [*found["pip"], *_STATES[args.state], *_words(args), *names]
    argv += ["-r", args.requirements] if args.requirements else []
    values |= {"cmd": argv, "stdout": "", "stderr": ""}
    if found["env"] and _is_met(args, ctx, found, names):
        return values
    if not found["env"]:
        yield Change(
            f"virtual environment {env}", lambda: _run(ctx, args, _environment(args, env or ""), folder)
        )
    certain = not found["env"] or (
        bool(names) and args.state in ("present", "absent") and not args.extra_args
    )
    before = found["installed"]
    done = yield Change(
        f"pip {args.state} {' '.join(names) or args.requirements}",
        lambda: _run(ctx, args, argv, folder),
        unknown=None if certain else "what pip would find is not known in a dry run",
    )
    if done is None:
        return values
    out = done.text()
    said = "Successfully uninstalled" if args.state == "absent" else "Successfully installed"
    changed = said in out or not found["env"]
    if args.requirements or any(re.match(r"(git|hg|svn|bzr)\+", one) for one in names):
        changed = not found["env"] or ctx.node.call("pip", "installed", pip=found["pip"]) != before
    return {**values, "stdout": out, "stderr": done.error_text(), "changed": changed}


def _names(args: Arguments) -> list[str]:
    """The packages; parts of one specifier that a comma split are joined again."""
    names: list[str] = []
    for one in args.name:
        if names and re.match(r"\s*[<>=!~]", one):
            names[-1] += "," + one.strip()
        else:
            names.append(one.strip())
    if args.version is None:
        return names
    if len(names) > 1:
        raise TaskFailed("'version' argument is ambiguous when installing multiple package distributions.")
    if names and re.search(r"[<>=!~]", names[0]):
        raise TaskFailed(
            "The 'version' argument conflicts with any version specifier provided along with a package name."
        )
    return [f"{names[0]}{'' if re.match('[<>=!~]', args.version) else '=='}{args.version}"] if names else []


def _is_met(args: Arguments, ctx: Context, found: dict[str, Any], names: list[str]) -> bool:
    plain = [one for one in names if re.match(r"[A-Za-z0-9][\w.-]*(\[.*\])?\s*([<>=!~;].*)?$", one)]
    if args.editable or not names or plain != names:
        return False
    if args.state == "absent":
        bare = [re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", one)[0]).lower() for one in names]
        return not any(one in found["installed"] for one in bare)
    if args.state != "present" or args.extra_args:
        return False
    if any("[" in one for one in names):
        return False
    return ctx.node.call("pip", "satisfied", pip=found["pip"], requirements=names) is True


def _words(args: Arguments) -> list[str]:
    words = shlex.split(args.extra_args or "")
    return [*words, "-e"] if args.editable and "-e" not in words else words


def _environment(args: Arguments, env: str) -> list[str]:
    words = shlex.split(args.virtualenv_command)
    if args.virtualenv_site_packages:
        words.append("--system-site-packages")
    is_venv = "venv" in words or words[0].rpartition("/")[2].startswith("pyvenv")
    if args.virtualenv_python and is_venv:
        raise TaskFailed(
            "virtualenv_python should not be used when using the venv module or pyvenv as virtualenv_command"
        )
    if args.virtualenv_python:
        words.append(f"-p{args.virtualenv_python}")
    elif not is_venv:
        words.append("-p/usr/bin/python3")
    return [*words, env]


def _run(ctx: Context, args: Arguments, argv: list[str], folder: str | None) -> Completed:
    env = dict(ctx.environment)
    if args.break_system_packages:
        env["PIP_BREAK_SYSTEM_PACKAGES"] = "1"
    if args.umask:
        argv = ["/bin/sh", "-c", 'umask "$0"; exec "$@"', args.umask, *argv]
    done = ctx.node.run(argv, env=env, cwd=folder or "/tmp", timeout=ctx.timeout, output=ctx.output)  # noqa: S108
    if done.rc and not (args.state == "absent" and "not installed" in done.text() + done.error_text()):
        said = (done.error_text() or done.text()).strip()
        raise TaskFailed(f"pip: {said[-1500:]}", cmd=argv)
    return done
