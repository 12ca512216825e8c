"""What two tools' records of one case must have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.cases import Case
from tests.conformance.tools import Record

# Different in any two runs, or about the tool and not about the task.
_VOLATILE = frozenset(
    {
        "start",
        "end",
        "delta",
        "atime",
        "mtime",
        "ctime",
        "birthtime",
        "inode",
        "dev",
        "pid",
        "invocation",
        "warnings",
        "deprecations",
        "exception",
        "failed_when_suppressed_exception",
        "diff",
        "ansible_job_id",
        "results_file",
        "elapsed",
        "discovered_interpreter_python",
        "backup_file",
        "ansible_delegated_vars",
        "ansible_facts_gathered",
        "exception_summary",
        "cache_update_time",
    }
)
_SAYS = frozenset({"debug", "fail", "assert", "set_fact", "set_stats", "pause"})
_FACTS = frozenset({"setup", "gather_facts"})
_SILENT = frozenset(
    {"meta", "include_tasks", "include_role", "import_tasks", "import_role", "import_playbook"}
)
_DEFAULTS = {"failed": False, "skipped": False, "unreachable": False}


def _short(action: str) -> str:
    return re.sub(r"^ansible\.(builtin|legacy)\.", "", action)


def _status(record: Record) -> str:
    return "failed" if record.status == "rescued" else record.status


def _clean(value: Any, dropped: frozenset[str], folder: str) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _clean(item, dropped, folder)
            for key, item in value.items()
            if key not in dropped
            and not str(key).startswith("_ansible_")
            and not (key in _DEFAULTS and item == _DEFAULTS[key])
            and not (
                isinstance(item, str) and re.search("/ansible-(tmp|local)-", item)
            )  # where its modules were put
        }
    if isinstance(value, list):
        return [_clean(item, dropped, folder) for item in value]
    return value.replace(folder, "<folder>") if isinstance(value, str) else value


def _plain(record: Record, case: Case, folder: Path) -> dict[str, Any] | None:
    action = _short(record.action)
    status = _status(record)
    if action in _SILENT and status in ("ok", "changed"):
        return None
    if action == "meta":
        return None
    dropped = _VOLATILE | frozenset(case.told.get("ignore") or ())
    failed = status in ("failed", "ignored", "unreachable")
    if action not in _SAYS or (failed and action not in ("fail", "assert")) or "results" in record.values:
        dropped |= {"msg"}
    values = {} if action in _FACTS or (failed and action in _SILENT) else record.values
    name = re.sub(r"\bansible\.(builtin|legacy)\.", "", record.task)
    return {
        "task": name.strip(),
        "status": status,
        "values": _clean({k: v for k, v in values.items() if k not in _DEFAULTS}, dropped, str(folder)),
    }


def of_case(
    records: Iterable[Record], case: Case, folder: Path, *, shared: bool
) -> dict[str, list[dict[str, Any]]]:
    """What a tool did in this case: for each host its tasks in order. `shared`: with others in its process."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if shared and record.play not in case.names:
            continue
        plain = _plain(record, case, folder)
        if plain is not None:
            found.setdefault(record.host, []).append(plain)
    return found


def lines(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The same as lines of text, to be compared by difflib."""
    said = []
    for host in sorted(found):
        for task in found[host]:
            said.append(f"{host}: {task['task']}: {task['status']}")
            text = json.dumps(task["values"], indent=1, sort_keys=True, default=str, ensure_ascii=False)
            said += [f"    {line}" for line in text.splitlines()]
    return said


def mispredicted(
    dry: Mapping[str, Sequence[Mapping[str, Any]]], real: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Tasks of which a dry run said something else than what then happened."""
    wrong = []
    for host, tasks in real.items():
        said = list(dry.get(host, ()))
        for number, task in enumerate(tasks):
            predicted = said[number]["status"] if number < len(said) else "nothing"
            if predicted not in (task["status"], "unknown"):
                wrong.append(f"{host}: {task['task']}: predicted {predicted}, was {task['status']}")
    return wrong
