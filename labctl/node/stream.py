"""The controller's end of a program that runs on a node and speaks in lines (a collector)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from labctl.errors import LabctlError, NodeError, TaskTimeout
from labctl.node.api import Completed
from labctl.node.link import Exchange, Header, Link


class AgentStream:
    """See `labctl.node.api.Stream`. One thread per program hands its lines on."""

    def __init__(
        self, link: Link, exchange: Exchange, argv: Sequence[str], line: Callable[[str], None]
    ) -> None:
        self._link = link
        self._exchange = exchange
        self._argv = tuple(argv)
        self._line = line
        self._partial = b""
        self._errors: list[bytes] = []
        self._values: Header | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._deliver, name=f"labctl-{argv[0]}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout: float = 5.0) -> Completed:
        if self.running:
            header = {"id": -2, "op": "cancel", "target": self._exchange.number, "grace": timeout}
            self._link.post(header)
        return self.wait(timeout + 10.0)

    def wait(self, timeout: float | None = None) -> Completed:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TaskTimeout(f"{self._link.host}: '{self._argv[0]}' has not ended within {timeout:g} s")
        if self._problem is not None:
            raise self._problem
        assert self._values is not None
        return Completed(
            argv=self._argv,
            rc=self._values["rc"],
            stdout=b"",
            stderr=b"".join(self._errors),
            start=self._values["start"],
            end=self._values["end"],
        )

    def _deliver(self) -> None:
        try:
            while self._values is None:
                values, body = self._exchange.next(None)
                if values.get("error") is not None:
                    raise NodeError(str(values["error"]), errno_name=values.get("errno"))
                if values.get("out") == 2:
                    self._errors.append(body)
                    continue
                final = "out" not in values
                split = values["split"] if final else len(body)
                self._hand_on(body[:split], last=final)
                self._errors.append(body[split:])
                if final:
                    self._values = {**values, "end": values.get("end", time.time())}
        except LabctlError as error:
            self._problem = error
        finally:
            self._exchange.done()

    def _hand_on(self, data: bytes, *, last: bool) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        if last and self._partial:
            lines.append(self._partial)
        for text in lines:
            if self._problem is None:
                try:
                    self._line(text.decode(errors="replace"))
                except Exception as error:
                    self._problem = error
