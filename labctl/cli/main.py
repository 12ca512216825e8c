"""The `labctl` command. Each subcommand is one module of this package, imported only when it is chosen."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from labctl import __version__
from labctl.errors import EnvironmentProblem, LabctlError, UsageError, did_you_mean

COMMANDS = {
    "run": "run playbooks against an inventory",
    "lab": "the embedded lab: up, status, ssh, down",
    "report": "print a run's report, or make it again from the raw files",
    "inventory": "show hosts, groups and variables",
    "vars": "where a host's variables come from",
    "facts": "show what is known of the nodes",
    "ping": "check that the nodes answer, and how fast",
    "exec": "run one task on the nodes",
    "vault": "encrypt and decrypt files and texts, as Ansible Vault does",
    "doc": "the task types and their arguments",
    "runs": "list the runs made here",
    "completion": "a script that completes commands in a shell",
}

_EPILOG = """\
exit codes: 0 all well, 1 unexpected fault, 2 a task failed, 3 a dry run that would change something or may,
4 a host is unreachable, 5 bad command line, 6 bad playbook, 7 bad inventory, 8 bad variable,
9 this machine cannot do it, 130 interrupted"""


class Parser(argparse.ArgumentParser):
    """argparse with labctl's exit code and hints. `intermixed`: options may stand between the arguments."""

    intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self.intermixed:
            return super().parse_known_args(args, namespace)
        self.intermixed = False  # parsing so calls this method
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.intermixed = True

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, and the nearest option is named when one is misspelt."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            wrong = unknown[0].partition("=")[0]
            near = did_you_mean(wrong, self.options()) if wrong.startswith("--") else None
            help_of = f"{self.prog} {parsed.command} --help"
            raise UsageError(f"unrecognized arguments: {' '.join(unknown)}", hint=near or help_of)
        return parsed

    def options(self) -> Iterator[str]:
        """The options of this parser and of the commands below it."""
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action.choices, Mapping):
                for parser in action.choices.values():
                    yield from parser.options()

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def build(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, complete for the subcommand in `argv`; the others are there by name."""
    parser = Parser(
        prog="labctl",
        description="Prove a number on a lab of machines: Ansible-style playbooks over SSH.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"labctl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        raise UsageError(
            f"there is no command '{chosen}'",
            hint=did_you_mean(chosen, COMMANDS) or f"the commands: {', '.join(COMMANDS)}",
        )
    for name, summary in COMMANDS.items():
        if name == chosen:
            module: Any = importlib.import_module(f"labctl.cli.{name}")
            module.add_parser(commands)
            parser.set_defaults(run=module.run)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code comes back, and every fault is one message on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = build(arguments)
        if not arguments:
            parser.print_help()
            return UsageError.exit_code
        args = parser.parse_args(arguments)
        code = int(args.run(args))
        sys.stdout.flush()
    except LabctlError as error:
        return fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nlabctl: interrupted\n")
        return 130
    except BrokenPipeError:
        # `labctl … | head`: nobody reads on; keep the interpreter from complaining at exit.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return crash(error)
        where = f"{error.filename}: " if error.filename else ""
        return fail(EnvironmentProblem(f"{where}{error.strerror}"))
    except Exception as error:
        return crash(error)
    return code


def fail(error: LabctlError) -> int:
    """Show an error as its user sees it; its exit code comes back."""
    _flush()
    sys.stderr.write(f"ERROR: {_hidden(error.report())}\n")
    return error.exit_code


def _flush() -> None:
    with suppress(OSError):  # what it could not write is said already, or about to be
        sys.stdout.flush()


def _hidden(text: str) -> str:
    """The text without the secrets this command line has learnt."""
    vault = sys.modules.get("labctl.vault")
    return str(vault.hide(text)) if vault else text


def crash(error: Exception) -> int:
    """A fault of labctl itself: one line, and the details in a file."""
    from labctl.cli.crash import write_log

    _flush()
    sys.stderr.write(
        f"ERROR: unexpected {type(error).__name__}: {_hidden(str(error))} (this is a fault of labctl)\n"
        f"hint: the details are in {write_log(error)}\n"
    )
    return 1
