"""Load that a notebook's user would make, run in the kernel: processes, memory, files.

`cpu_stress_test`, `memory_stress_test` and `disk_stress_test` are series of growing steps, to be called in a cell.
`begin` does one step in a thread, so that the kernel goes on answering cells, and tells what happens as JSON lines
on a Unix socket: {"event": "progress", "achieved": n} as it grows, and one {"event": "end", …} with what the step
returned, or with `errno` (a name) and `message` of what stopped it.
"""

from __future__ import annotations

import errno
import gc
import json
import mmap
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Callable

import numpy as np

MB = 10**6
BLOCK = 8 << 20  # bytes of memory between two words of progress
POOL = 8 << 20  # random bytes that a file's content is taken from: incompressible, and cheap to compare with
CHUNK = 1 << 20  # bytes of one write
STRIDE = 4099  # bytes between the places of two chunks in the pool
SYNC_EVERY = 64 << 20  # bytes that may be dirty: they count as the container's memory
MATRIX = 128  # a product takes about a millisecond, so that a worker ends close to its time
FILE = "stress.bin"  # in the kernel's working directory

Values = dict[str, Any]
Tell = Callable[..., None]
Blocks = list[Any]  # of (map, array)


class Stopped(Exception):
    """A step that could not be done. `errno` is a name; `values` is what was done before."""

    def __init__(self, number: int | None, message: str, **values: Any) -> None:
        super().__init__(message)
        self.errno = errno.errorcode.get(number or 0, str(number))
        self.values = values


def silent(**_: Any) -> None:
    """For steps whose progress nobody follows."""


# ------------------------------------------------------------ cpu


def cpu_worker(go: int, results: Connection, duration: float) -> None:
    """Matrix products for `duration` seconds once `go` is closed; (products, seconds) go to `results`."""
    gc.disable()  # a collection would write to pages that are the kernel's too
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = np.random.default_rng(os.getpid())
    left, right = rng.random((MATRIX, MATRIX)), rng.random((MATRIX, MATRIX))
    os.read(go, 1)
    begun = time.monotonic()
    done = 0
    while time.monotonic() - begun < duration:
        np.dot(left, right)
        done += 1
    results.send((done, time.monotonic() - begun))


def cpu_step(processes: int, duration: float, tell: Tell = silent) -> Values:
    """`processes` workers at once: {achieved, work_s, throughput (products a second), per_worker_s,
    per_worker_work, worker: None or the wait status of the first that died}."""
    context = multiprocessing.get_context("fork")
    read, write = os.pipe()
    workers, results = [], []
    try:
        for _ in range(processes):
            mine, its = context.Pipe(duplex=False)
            worker = context.Process(target=_in_child, args=(write, read, its, duration), daemon=True)
            worker.start()
            its.close()
            workers.append(worker)
            results.append(mine)
    except OSError as error:
        os.close(write)
        os.close(read)
        _end(workers, True)
        raise Stopped(
            error.errno, "process %d: %s" % (len(workers) + 1, error), achieved=len(workers)
        ) from None
    tell(achieved=len(workers))
    begun = time.monotonic()
    os.close(write)
    dead = _wait(workers)
    work_s = time.monotonic() - begun
    os.close(read)
    _end(workers, dead is not None)
    done = [result.recv() if result.poll() else None for result in results] if dead is None else []
    done = [one for one in done if one is not None]
    return {
        "achieved": len(done),
        "work_s": work_s,
        "throughput": sum(work for work, _ in done) / work_s if done else None,
        "per_worker_s": [seconds for _, seconds in done],
        "per_worker_work": [work for work, _ in done],
        "worker": dead,
    }


def _in_child(write: int, read: int, results: Connection, duration: float) -> None:
    os.close(write)
    cpu_worker(read, results, duration)


def _wait(workers: list[BaseProcess]) -> Values | None:
    """Until all have ended, or one did so otherwise than well: then {signal, exit} of that one."""
    running = {worker.sentinel: worker for worker in workers}
    while running:
        for sentinel in multiprocessing.connection.wait(list(running)):
            worker = running.pop(sentinel)
            worker.join()
            if worker.exitcode:
                code = worker.exitcode
                return {"signal": -code if code < 0 else None, "exit": code if code > 0 else None}
    return None


def _end(workers: list[BaseProcess], kill: bool) -> None:
    for worker in workers:
        if kill:
            worker.kill()
        worker.join()


def cpu_stress_test(max_processes: int = 8, step_duration: float = 10) -> None:
    """1, 2, … `max_processes` processes, each step `step_duration` seconds: a line for each."""
    for processes in range(1, max_processes + 1):
        done = cpu_step(processes, step_duration)
        print(
            "%d processes: %.0f products/s, each %.2f s"
            % (processes, done["throughput"], np.mean(done["per_worker_s"]))
        )


# ------------------------------------------------------------ memory


def fill(size: int, tell: Tell = silent) -> Blocks:
    """`size` bytes of random numbers in pages of their own, every one written to: a list of (map, array)."""
    rng = np.random.default_rng()
    blocks = []
    filled = 0
    while filled < size:
        length = min(BLOCK, size - filled)
        try:
            block = mmap.mmap(
                -1, -(-length // mmap.PAGESIZE) * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            )
        except OSError as error:
            raise Stopped(error.errno, str(error), achieved=filled) from None
        array = np.frombuffer(block, dtype=np.float64)
        rng.random(out=array)
        blocks.append((block, array))
        filled += length
        tell(achieved=filled)
    return blocks


def hold(blocks: Blocks, duration: float) -> None:
    """Compute over the arrays, so that they stay in use, for `duration` seconds."""
    until = time.monotonic() + duration
    while time.monotonic() < until:
        for _, array in blocks:
            array.mean()
            if time.monotonic() >= until:
                break


def release(blocks: Blocks) -> None:
    while blocks:
        block, array = blocks.pop()
        del array
        block.close()


def memory_step(size: int, duration: float, tell: Tell = silent) -> Values:
    """Fill `size` bytes and hold them for `duration` seconds: {achieved, work_s, throughput (bytes a second)}."""
    begun = time.monotonic()
    blocks = fill(size, tell)
    work_s = time.monotonic() - begun
    tell(achieved=size, held=True)
    hold(blocks, duration)
    release(blocks)
    return {"achieved": size, "work_s": work_s, "throughput": size / work_s if size else None}


def memory_stress_test(
    start_size_mb: int = 100, step_size_mb: int = 100, max_steps: int = 10, duration: float = 10
) -> None:
    """`start_size_mb`, then `step_size_mb` more in each step, all of it kept until the end: a line for each step."""
    kept = []
    try:
        for step in range(max_steps):
            size = (step_size_mb if step else start_size_mb) * MB
            kept += fill(size)
            hold(kept, duration)
            print("%d MB" % (start_size_mb + step * step_size_mb))
    finally:
        release(kept)


# ------------------------------------------------------------ disk


def disk_step(size: int, duration: float, tell: Tell = silent) -> Values:
    """Write `size` incompressible bytes and sync, then read them back and compare, again and again until `duration`
    seconds are over: {achieved, work_s, throughput (bytes written and synced, a second), read_throughput}."""
    pool = np.random.default_rng().bytes(POOL)
    begun = time.monotonic()
    descriptor = os.open(FILE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write(descriptor, pool, size, tell)
        work_s = time.monotonic() - begun
        tell(achieved=size, held=True)
        read_s, times = 0.0, 0
        while not times or time.monotonic() - begun < work_s + duration:
            read_s += _read_back(descriptor, pool, size)
            times += 1
        return {
            "achieved": size,
            "work_s": work_s,
            "throughput": size / work_s,
            "read_throughput": times * size / read_s,
        }
    finally:
        os.unlink(FILE)
        os.close(descriptor)


def _piece(pool: bytes, offset: int, size: int) -> memoryview:
    """What belongs at an offset of the file: pieces of the pool, none of them twice in a row."""
    start = offset // CHUNK * STRIDE % (POOL - CHUNK)
    return memoryview(pool)[start + offset % CHUNK : start + min(CHUNK, offset % CHUNK + size - offset)]


def _write(descriptor: int, pool: bytes, size: int, tell: Tell) -> None:
    written = synced = 0
    try:
        while written < size:
            written += os.write(descriptor, _piece(pool, written, size))
            if written - synced >= SYNC_EVERY:
                os.fsync(descriptor)
                synced = written
                tell(achieved=written)
        os.fsync(descriptor)
    except OSError as error:
        raise Stopped(error.errno, "writing: %s" % error.strerror, achieved=written) from None


def _read_back(descriptor: int, pool: bytes, size: int) -> float:
    """Seconds that reading everything from the disk took; not from memory, as far as the kernel obeys."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(descriptor, 0, os.SEEK_SET)
    begun = time.monotonic()
    for offset in range(0, size, CHUNK):
        expected = _piece(pool, offset, size)
        if os.read(descriptor, len(expected)) != expected:
            raise Stopped(errno.EIO, "what was read back is not what was written", achieved=size)
    return time.monotonic() - begun


def disk_stress_test(
    start_size_mb: int = 100, step_size_mb: int = 100, max_steps: int = 10, duration: float = 30
) -> None:
    """Files of `start_size_mb`, then `step_size_mb` more each time: a line for each step."""
    for step in range(max_steps):
        size = start_size_mb + step * step_size_mb
        done = disk_step(size * MB, duration)
        rates = (done["throughput"] / MB, done["read_throughput"] / MB)
        print("%d MB: written at %.0f MB/s, read at %.0f MB/s" % (size, *rates))


# ------------------------------------------------------------ one step, told from outside

STEPS: dict[str, Callable[..., Values]] = {"cpu": cpu_step, "memory": memory_step, "disk": disk_step}


def begin(resource: str, amount: int, duration: float, path: str) -> None:
    """Do a step in a thread; what happens goes to the Unix socket at `path`."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    threading.Thread(target=_step, args=(resource, amount, duration, link), daemon=True).start()


def _step(resource: str, amount: int, duration: float, link: socket.socket) -> None:
    def tell(event: str = "progress", **values: Any) -> None:
        link.sendall(json.dumps({"event": event, **values}).encode() + b"\n")

    with link:
        try:
            tell("end", **STEPS[resource](amount, duration, tell))
        except Stopped as stopped:
            tell("end", errno=stopped.errno, message=str(stopped), **stopped.values)
        except OSError as error:
            tell("end", errno=errno.errorcode.get(error.errno or 0), message=str(error))
        except MemoryError as error:
            tell("end", errno="ENOMEM", message=str(error) or "out of memory")
        except Exception as error:
            tell("end", errno=None, message="%s: %s" % (type(error).__name__, error))
