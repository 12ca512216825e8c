"""data-processor: reads a data set for a set time, aggregates it, writes the result and completes.

A chunk of records arrives every 0.1 s, PROCESS_SECONDS long; what a slow CPU could not do in time is
done later, none is left out. So the work and its result depend on the environment alone: a second run
of the same data set does all of it again.

Environment: PROCESS_SECONDS; PROCESS_RECORDS in a chunk (the work of a chunk); PROCESS_SEED; POD_INSTANCE
(which deployment this is; recorded); STATE_DIR; POD_DIR. Exit code 0 completed, 1 could not write the
result, 143 stopped by TERM.

Files: STATE_DIR/processor.result.json; STATE_DIR/processor.done.json; POD_DIR/processor.json.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
from array import array
from typing import Any

from podfiles import BOOT, POD_DIR, STATE_DIR, number, say, write_json

CHUNK_SECONDS = 0.1
KEYS = ("image", "text", "audio", "video", "table")
NAME = "data-processor"


class Aggregate:
    """Count, sum and quantiles of a column by key, and a checksum over every record."""

    def __init__(self) -> None:
        self._values = {key: array("d") for key in KEYS}
        self._checksum = hashlib.sha256()
        self.records = self.bad = 0

    def add(self, text: str) -> None:
        """Parse lines `number,key,value,size`; a line that cannot be parsed is counted, not used."""
        self._checksum.update(text.encode())
        for line in text.splitlines():
            fields = line.split(",")
            try:
                self._values[fields[1]].append(float(fields[2]) * int(fields[3]))
                self.records += 1
            except (IndexError, KeyError, ValueError):
                self.bad += 1

    def result(self) -> dict[str, Any]:
        groups = {}
        for key, values in self._values.items():
            ordered = sorted(values)
            group: dict[str, Any] = {"count": len(ordered), "sum": round(sum(ordered), 3)}
            for name, share in (("p50", 0.5), ("p95", 0.95)):
                group[name] = round(ordered[int(share * (len(ordered) - 1))], 3) if ordered else None
            groups[key] = group
        return {
            "records": self.records,
            "bad": self.bad,
            "groups": groups,
            "sha256": self._checksum.hexdigest(),
        }


def chunk(generator: random.Random, index: int, records: int) -> str:
    """The text of one chunk of the data set; about one record in 500 is damaged."""
    lines = []
    for row in range(records):
        key = KEYS[int(generator.random() * len(KEYS))]
        value = "%.6f" % generator.random() if generator.random() > 0.002 else "?"
        lines.append("%d,%s,%s,%d" % (index * records + row, key, value, generator.getrandbits(10)))
    return "\n".join(lines) + "\n"


def main() -> int:
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    seconds, records = number("PROCESS_SECONDS", 45.0), number("PROCESS_RECORDS", 8000)
    generator = random.Random(number("PROCESS_SEED", 1))
    chunks = max(1, round(seconds / CHUNK_SECONDS))
    aggregate, begin = Aggregate(), time.monotonic()
    say("start", chunks=chunks, records=records, wall=time.time())
    for index in range(chunks):
        if stopped:
            say("stop", chunk=index, chunks=chunks, signal=15, wall=time.time())
            return 128 + signal.SIGTERM
        aggregate.add(chunk(generator, index, records))
        if (index + 1) % 10 == 0:
            say("progress", chunk=index + 1, chunks=chunks, records=aggregate.records, wall=time.time())
        time.sleep(max(0.0, begin + (index + 1) * CHUNK_SECONDS - time.monotonic()))
    result = aggregate.result()
    done = {
        "name": NAME,
        "completed": True,
        "instance": os.environ.get("POD_INSTANCE") or os.uname().nodename,
        "sha256": result["sha256"],
        "seconds": round(time.monotonic() - begin, 3),
        "cpu_seconds": round(time.process_time(), 3),
        "wall": time.time(),
        "boot": BOOT,
    }
    try:
        write_json(os.path.join(STATE_DIR, "processor.result.json"), result, durable=True)
        write_json(os.path.join(STATE_DIR, "processor.done.json"), done, durable=True)
        write_json(os.path.join(POD_DIR, "processor.json"), done)
    except OSError as error:
        say("error", error="the result could not be written: %s" % error, wall=time.time())
        return 1
    say("completed", records=result["records"], **{k: done[k] for k in ("sha256", "seconds", "cpu_seconds")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
