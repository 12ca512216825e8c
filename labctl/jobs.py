"""What a job's file on its host says: shared by the engine, which starts jobs, and `async_status`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

FOLDER = "~/.ansible_async"


def folder_of(variables: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Where the job files of a host are: `ansible_async_dir`, or ANSIBLE_ASYNC_DIR of the task or of labctl."""
    return str(
        variables.get("ansible_async_dir")
        or environment.get("ANSIBLE_ASYNC_DIR")
        or os.environ.get("ANSIBLE_ASYNC_DIR")
        or FOLDER
    )


def values(found: Mapping[str, Any], jid: str) -> dict[str, Any]:
    """The values `async_status` returns, from what `jobs.status` on the node found. `finished` is true too
    for a job that is not there, as there is nothing to wait for."""
    answer: dict[str, Any] = {
        "ansible_job_id": jid,
        "results_file": found["path"],
        "started": True,
        "finished": True,
        "stdout": "",
        "stderr": "",
        "changed": False,
    }
    said = found["values"]
    if not found["found"]:
        answer |= {"failed": True, "msg": "could not find job"}
    elif isinstance(said, Mapping):
        answer |= {name: value for name, value in said.items() if name != "watcher"}
        answer["finished"] = "started" not in said or bool(said.get("finished"))
        answer |= {"ansible_job_id": jid, "results_file": found["path"], "started": True}
    elif found.get("text"):
        answer |= {"failed": True, "msg": f"Could not parse job output: {found['text']}"}
    else:  # not written yet
        answer["finished"] = False
    for name in ("stdout", "stderr"):
        answer[f"{name}_lines"] = str(answer[name]).splitlines()
    return answer
