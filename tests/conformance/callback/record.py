"""A callback plugin of ansible-core: every result as a JSON line in the file $CONFORMANCE_RECORD."""

import json
import os

from ansible import constants
from ansible.plugins.callback import CallbackBase

constants.DEFAULT_INTERNAL_POLL_INTERVAL = (
    0.01  # seconds instead of 0.001: most of a run is waiting for modules
)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "record"

    def __init__(self):
        super().__init__()
        self._play = ""
        self._path = os.environ["CONFORMANCE_RECORD"]

    def v2_playbook_on_play_start(self, play):
        self._play = play.get_name()

    def v2_runner_on_ok(self, result):
        self._record(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._record(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result):
        self._record(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        ignored = getattr(result._task, "ignore_unreachable", None)
        self._record(result, "ignored" if ignored else "unreachable")

    def _record(self, result, status):
        record = {
            "play": self._play,
            "task": result._task.get_name(),
            "action": result._task.action,
            "host": result._host.get_name(),
            "status": status,
            "values": result._result,
        }
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str) + "\n")
