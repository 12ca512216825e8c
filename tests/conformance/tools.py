"""Running one bundle of cases with either tool, and reading what each says of every task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.cases import Bundle, Case, dump

ROOT = Path(__file__).resolve().parents[2]
ORACLE = Path(__file__).with_name("oracle")
_PYTHON = "/usr/bin/python3"
_INVENTORY = f"""\
one
two
three

[pair]
one
two

[odd]
one
three

[all:vars]
ansible_connection=local
ansible_python_interpreter={_PYTHON}
"""


@dataclass(frozen=True)
class Record:
    """How one task ended on one host, in one case."""

    play: str
    task: str
    action: str
    host: str
    status: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One process: its exit code, what it printed, and its records."""

    rc: int
    output: str
    records: list[Record]

    @property
    def kind(self) -> str:
        """ok, failed, unreachable or error: what the exit code means in either tool's terms."""
        if self.rc in (0, 3):  # 3: a dry run of labctl that would change something
            return "ok"
        if self.rc == 4 and any(record.status == "unreachable" for record in self.records):
            return "unreachable"
        # labctl's exit code also says why a task failed (8: a template, …)
        broken = self.rc == 2 or any(record.status == "failed" for record in self.records)
        return "failed" if broken else "error"


def _write(folder: Path, bundle: Bundle, cases: Sequence[Case], inventory: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "play.yml").write_text(dump([play for case in cases for play in case.plays]))
    given = next((case.told["inventory"] for case in cases if "inventory" in case.told), inventory)
    if not (folder / "inventory").exists():
        (folder / "inventory").write_text(given if isinstance(given, str) else dump(given))
    for case in bundle.cases:
        for name, content in (case.told.get("files") or {}).items():
            path = folder / name
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else dump(content))
            if path.read_text().startswith("#!"):
                path.chmod(0o755)


def _args(cases: Sequence[Case]) -> list[str]:
    words = [str(word) for word in cases[0].told.get("args", ())]
    return words if "-i" in words else ["-i", "inventory", *words]


def _environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "LABCTL_"))}
    return {**kept, "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", **more}


def _call(argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(argv),
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=900,
        check=False,
    )


def oracle(
    python: Path, folder: Path, bundle: Bundle, cases: Sequence[Case], inventory: str = _INVENTORY
) -> Run:
    """Run them with ansible-core, installed beside `python`."""
    _write(folder, bundle, cases, inventory)
    record = folder.parent / f"{folder.name}.jsonl"
    record.unlink(missing_ok=True)
    env = _environment(
        CONFORMANCE_RECORD=str(record),
        CONFORMANCE_COMPILED=str(folder.parent / ".compiled"),
        PYTHONPATH=str(ORACLE),
        ANSIBLE_CALLBACK_PLUGINS=str(Path(__file__).parent / "callback"),
        ANSIBLE_STDOUT_CALLBACK="record",
        ANSIBLE_HOME=str(folder.parent / ".ansible"),
        ANSIBLE_PIPELINING="1",
        ANSIBLE_DEPRECATION_WARNINGS="0",
        ANSIBLE_LOCALHOST_WARNING="0",
    )
    done = _call([str(python.parent / "ansible-playbook"), *_args(cases), "play.yml"], folder, env)
    lines = record.read_text().splitlines() if record.exists() else []
    return Run(done.returncode, done.stdout + done.stderr, [Record(**json.loads(line)) for line in lines])


def labctl(
    folder: Path, bundle: Bundle, cases: Sequence[Case], inventory: str = _INVENTORY, *, check: bool = False
) -> Run:
    """Run them with labctl (`check`: a dry run)."""
    _write(folder, bundle, cases, inventory)
    argv = [sys.executable, "-P", "-m", "labctl", "run", *_args(cases), "play.yml", "--output", "json"]
    done = _call(argv + ["--check"] * check, folder, _environment(PYTHONPATH=str(ROOT)))
    records = []
    for line in done.stdout.splitlines():
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        if event["event"] == "result":
            data = event["data"]
            records.append(
                Record(
                    event["play"],
                    event["task"],
                    data["action"],
                    event["host"],
                    data["status"],
                    data["result"],
                )
            )
    said = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("{"))
    return Run(done.returncode, said + done.stderr, records)
