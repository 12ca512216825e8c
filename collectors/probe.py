"""Ask an HTTP URL on an absolute schedule, from outside, and write one JSON line per question.

    probe.py http://10.79.0.12:8080/progress [--period 0.02] [--timeout 0.25]

Every question is a new TCP connection, as a new client would make it. Several are in flight: one that hangs
delays no other. Where the service may answer at one of several addresses (before and after a move), each
URL is asked every time, and the probe is good when any answers; of several good answers the one furthest
along counts, and `url` says which. The answer is the JSON of `/progress`: its `step`, `completed` and `boot` go into
the line. A header line, a line per question in the order of asking, and on SIGTERM an end line;
docs/architecture.md has their fields.
"""

from __future__ import annotations

import argparse
import collections
import errno
import gc
import json
import os
import select
import signal
import socket
import sys
import time

from parts.lines import emit, write

LEAVE = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
REASONS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ETIMEDOUT: "timeout",
}


class Target:
    """One URL: where to connect, and the request to send there."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        place, _, path = rest.partition("/")
        host, colon, port = place.rpartition(":")
        if not colon or "]" in port:
            host, port = place, "80"
        if scheme != "http" or not host or not port.isdigit():
            raise ValueError("expected http://HOST:PORT/PATH, not %r" % url)
        self.url = url
        family = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        self.family, self.address = family[0], family[4]
        request = "GET /%s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path, place)
        self.request = request.encode()


class Question:
    """One probe: a connection to each target, until one good answer or none left."""

    __slots__ = ("answer", "deadline", "done", "error", "mono", "n", "open", "wall")

    def __init__(self, n: int, mono: float, wall: float, deadline: float) -> None:
        self.n, self.mono, self.wall, self.deadline = n, mono, wall, deadline
        self.open = set()
        self.answer = None
        self.error = None
        self.done = False

    def line(self) -> bytes:
        line = {"type": "probe", "n": self.n, "wall": round(self.wall, 6), "mono": round(self.mono, 6)}
        line["ok"] = self.answer is not None
        line.update(self.answer or {"error": self.error or "timeout"})
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


class Connection:
    """One attempt: connecting, then sending, then reading until the server closes."""

    __slots__ = ("question", "received", "sent", "socket", "target")

    def __init__(self, question: Question, target: Target) -> None:
        self.question, self.target = question, target
        self.received = b""
        self.sent = False
        self.socket = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def connect(self) -> str | None:
        """None, or why it failed at once."""
        code = self.socket.connect_ex(self.target.address)
        return None if code in (0, errno.EINPROGRESS) else reason(code)

    def ready(self) -> str | None:
        """Go on: 'sent' once, None while there is more to come, else how it ended: 'ok' or an error."""
        try:
            if not self.sent:
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    return reason(code)
                self.socket.send(self.target.request)
                self.sent = True
                return "sent"
            piece = self.socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError as error:
            return reason(error.errno)
        self.received += piece
        if piece and not self.complete():
            return None
        return "ok" if self.received else "closed without an answer"

    def complete(self) -> bool:
        head, gap, body = self.received.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        if not gap or at < 0:
            return False
        return len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0])

    def answer(self) -> dict[str, object] | str:
        """What /progress says, or the error of an answer that is not one."""
        head, gap, body = self.received.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if not gap or status != [b"200"]:
            return "status %s" % (status[0].decode("ascii", "replace") if status else "missing")
        try:
            said = json.loads(body.decode())
            return {
                "step": said.get("step"),
                "completed": said.get("completed", []),
                "boot": said.get("boot"),
            }
        except (ValueError, AttributeError):
            return "not JSON"


def reason(code: int | None) -> str:
    return REASONS.get(code) or os.strerror(code or 0).lower()


class Prober:
    def __init__(self, targets: list[Target], timeout: float) -> None:
        self.targets = targets
        self.timeout = timeout
        self.poll = select.epoll()
        self.connections = {}
        self.asked = collections.deque()
        self.sent = 0
        self.failed = 0

    def ask(self) -> None:
        mono = time.monotonic()
        question = Question(self.sent, mono, time.time(), mono + self.timeout)
        self.sent += 1
        self.asked.append(question)
        for target in self.targets:
            connection = Connection(question, target)
            failed = connection.connect()
            if failed:
                connection.socket.close()
                question.error = failed
                continue
            fd = connection.socket.fileno()
            self.connections[fd] = connection
            question.open.add(fd)
            self.poll.register(fd, select.EPOLLOUT)
        question.done = not question.open

    def attend(self, until: float) -> None:
        """Serve the connections until a time of the monotonic clock; write what has been answered."""
        while True:
            now = time.monotonic()
            if self.asked and self.asked[0].deadline < until:
                wait = self.asked[0].deadline - now
            else:
                wait = until - now
            for fd, _ in self.poll.poll(max(0.0, wait)):
                if fd in self.connections:
                    self.serve(fd)
            self.expire()
            if time.monotonic() >= until:
                return

    def serve(self, fd: int) -> None:
        connection = self.connections[fd]
        went = connection.ready()
        if went == "sent":
            self.poll.modify(fd, select.EPOLLIN)
        elif went:
            self.finish(fd, connection, went)

    def finish(self, fd: int, connection: Connection, went: str) -> None:
        question = connection.question
        answer = connection.answer() if went == "ok" else went
        if isinstance(answer, str):
            question.error = answer
        else:
            answer["ms"] = round((time.monotonic() - question.mono) * 1000, 3)
            if len(self.targets) > 1:
                answer["url"] = connection.target.url
            best = question.answer
            if best is None or (answer["step"] or 0) > (best["step"] or 0):
                question.answer = answer
        self.forget(fd)
        question.open.discard(fd)
        question.done = not question.open

    def forget(self, fd: int) -> None:
        self.poll.unregister(fd)
        self.connections.pop(fd).socket.close()

    def expire(self, everything: bool = False) -> None:
        """Give up what is overdue, and write every question that is settled, in order."""
        now = time.monotonic()
        out = []
        for question in self.asked:
            if not question.done and (everything or question.deadline <= now):
                for fd in question.open:
                    self.forget(fd)
                question.open.clear()
                question.error = "timeout"
                question.done = True
        while self.asked and self.asked[0].done:
            question = self.asked.popleft()
            self.failed += question.answer is None
            out.append(question.line())
        if out:
            write(b"".join(out))


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="probe.py", description=__doc__.split("\n", 1)[0])
    parser.add_argument("url", nargs="*", help="http://HOST:PORT/PATH; several: any may answer")
    parser.add_argument("--url", action="append", default=[], dest="more", help="one more URL")
    parser.add_argument("--period", type=float, default=0.02, help="seconds between two questions")
    parser.add_argument("--timeout", type=float, default=0.25, help="seconds until a question has failed")
    parser.add_argument("--host", default=os.uname().nodename, help="the name to write in the header")
    options = parser.parse_args(argv)
    options.url += options.more
    if not options.url:
        parser.error("which URL?")
    try:
        options.targets = [Target(url) for url in options.url]
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return options


def main(argv: list[str]) -> None:
    options = arguments(argv)
    leaving = []
    for number in LEAVE:
        signal.signal(number, lambda received, _frame: leaving.append(received))
    gc.disable()  # nothing here makes cycles; a collection would only delay a question
    prober = Prober(options.targets, options.timeout)
    late_after = max(0.002, options.period / 4)
    emit(
        {
            "type": "header",
            "host": options.host,
            "period": options.period,
            "timeout": options.timeout,
            "url": options.url[0],
            "urls": options.url,
            "pid": os.getpid(),
            "late_after": late_after,
        }
    )
    startup = time.process_time()
    begun = due = time.monotonic()
    late = missed = 0
    while not leaving:
        prober.ask()
        due += options.period
        now = time.monotonic()
        if now >= due + options.period:
            skipped = int((now - due) / options.period)
            missed += skipped
            due += skipped * options.period
        prober.attend(due)
        late += time.monotonic() - due > late_after
    prober.attend(time.monotonic())
    prober.expire(everything=True)
    ended = time.monotonic()
    end = {"type": "end", "sent": prober.sent, "failed": prober.failed, "late": late, "missed": missed}
    end.update(cpu_seconds=time.process_time() - startup, wall_seconds=ended - begun)
    emit({**end, "startup_cpu_seconds": startup})


if __name__ == "__main__":
    main(sys.argv[1:])
