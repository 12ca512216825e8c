"""A command that an agent is asked for, and what comes of it."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from labctl.errors import LabctlError, NodeError
from labctl.node.api import CommandOptions, Completed
from labctl.node.link import Exchange, Frame, Header


class Asked:
    """A command; its output as it comes, in pieces of decoded text for whoever watches. For what it is given see
    `labctl.node.api.Node.run`. `request` and `stdin` are for the agent."""

    def __init__(self, argv: Sequence[str], **how: Unpack[CommandOptions]) -> None:
        self._output, env = how.get("output"), how.get("env")
        given: Header = {
            "env": dict(env) if env else None,
            "cwd": how.get("cwd"),
            "timeout": how.get("timeout"),
            "creates": how.get("creates"),
            "removes": how.get("removes"),
            "stream": True if self._output else None,
        }
        self.request: Header = {"argv": list(argv), **without_none(given)}
        self.stdin = how.get("stdin", b"")
        self._exchange: Exchange | None = None
        self._last = True
        self._argv = argv
        self._answer: Frame | None = None
        self._problem: LabctlError | None = None
        self._pieces: dict[int, list[bytes]] = {1: [], 2: []}
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}  # of what has come in part

    @property
    def size(self) -> int:
        """Bytes of the command line and of its standard input."""
        return sum(map(len, self._argv)) + len(self.stdin)

    def sent(self, exchange: Exchange, *, last: bool = True) -> None:
        """It was asked for; `last`: nothing else was, after it, in the same exchange."""
        self._exchange, self._last = exchange, last

    def next(self, limit: float | None = None) -> bool:
        """Take what comes next, by `limit` of the monotonic clock; whether nothing comes after it."""
        exchange = self._exchange
        assert exchange is not None
        try:
            values, body = exchange.next(limit)
            if "out" in values:
                self._add(values["out"], body)
                return False
        except LabctlError as error:
            exchange.cancel()
            self._problem = error
            return True
        except BaseException:
            exchange.cancel()
            raise
        if self._last:
            exchange.done()
        self._answer = values, body
        return True

    def wait(self, limit: float | None = None) -> None:
        """Until nothing comes after it. Raises TaskTimeout, ConnectionLost."""
        while not self.next(limit):
            pass
        if self._problem is not None:
            raise self._problem

    def forget(self) -> None:
        """Nobody waits for it any more."""
        if self._exchange is not None and self._answer is None:
            self._exchange.cancel()

    def completed(self) -> Completed:
        """After the last. Raises TaskTimeout, ConnectionLost, and NodeError where it could not be run."""
        if self._problem is not None:
            raise self._problem
        assert self._answer is not None
        values, body = self._answer
        check(values)
        self._add(1, body[: values["split"]], last=True)
        self._add(2, body[values["split"] :], last=True)
        return Completed(
            argv=tuple(self._argv),
            rc=values["rc"],
            stdout=b"".join(self._pieces[1]),
            stderr=b"".join(self._pieces[2]),
            start=values["start"],
            end=values["end"],
            timed_out=bool(values.get("timed_out")),
            skipped=values.get("skipped"),
        )

    def _add(self, number: int, data: bytes, *, last: bool = False) -> None:
        self._pieces[number].append(data)
        if self._output and (text := self._decoded(number, data, last=last)):
            self._output("stdout" if number == 1 else "stderr", text)

    def _decoded(self, number: int, data: bytes, *, last: bool) -> str:
        if number not in self._decoders:
            if last:
                return data.decode("utf-8", "replace")
            self._decoders[number] = codecs.getincrementaldecoder("utf-8")("replace")
        return self._decoders[number].decode(data, last)


def without_none(values: Mapping[str, Any]) -> Header:
    return {key: value for key, value in values.items() if value is not None}


def check(values: Header) -> None:
    """Raise NodeError where an answer says that something could not be done."""
    error = values.get("error")
    if error is not None:
        path = values.get("path")
        text = f"{path}: {error}" if path else str(error)
        raise NodeError(text, errno_name=values.get("errno"), path=path)
