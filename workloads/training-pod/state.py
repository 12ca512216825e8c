"""The trainer's whole state: what must travel so that training goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from model import ENGINES, SHAPES, Arrays, data_set, initial_arrays
from podfiles import write_atomically

MAGIC = "labctl trainer state 1"
ROWS = 8192


class DamagedState(Exception):
    """The saved state is missing, cut short, altered, or another program's."""


class State:
    """Parameters, optimiser moments, step and random generator, with the data set they belong to."""

    def __init__(self, seed: int, batch: int, step: int, random: np.random.Generator, engine: Any) -> None:
        self.seed, self.batch, self.step = seed, batch, step
        self.engine = engine
        self._random = random
        self._features, self._labels = data_set(seed, ROWS)

    @classmethod
    def initial(cls, seed: int, batch: int, engine: str) -> State:
        random = np.random.Generator(np.random.PCG64([seed, 3]))
        return cls(seed, batch, 0, random, ENGINES[engine](initial_arrays(seed)))

    def advance(self) -> float:
        """Make one step on a random batch; its loss."""
        rows = self._random.integers(0, ROWS, self.batch)
        self.step += 1
        loss: float = self.engine.step(self.step, self._features[rows], self._labels[rows])
        return loss

    def _description(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seed": self.seed,
            "batch": self.batch,
            "shapes": SHAPES,
            "random": self._random.bit_generator.state,
        }

    def digest(self) -> str:
        """sha256 of everything the next steps depend on."""
        found = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        for array in self.engine.arrays():
            found.update(array)
        return found.hexdigest()

    def save(self, path: str) -> tuple[str, int, str]:
        """Write the state durably; (digest, size in bytes, sha256 of the file). OSError leaves the old one.

        Line 1: magic and the sha256 of all that follows. Line 2: the description. Then the arrays."""
        digest = self.digest()
        body = [json.dumps({**self._description(), "digest": digest}, sort_keys=True).encode() + b"\n"]
        body += [array.tobytes() for array in self.engine.arrays()]
        checksum = hashlib.sha256()
        for part in body:
            checksum.update(part)
        head = json.dumps({"magic": MAGIC, "sha256": checksum.hexdigest()}).encode() + b"\n"
        size = write_atomically(path, [head, *body], durable=True)
        whole = hashlib.sha256(head)
        for part in body:
            whole.update(part)
        return digest, size, whole.hexdigest()

    @classmethod
    def load(cls, path: str, engine: str) -> State:
        """The saved state, after every byte of it was checked. DamagedState says what is wrong."""
        try:
            with open(path, "rb") as stream:
                head, body = stream.readline(), stream.read()
        except OSError as error:
            raise DamagedState("no saved state: %s" % error) from None
        try:
            header = json.loads(head)
            magic, checksum = header["magic"], header["sha256"]
        except (ValueError, TypeError, KeyError):
            raise DamagedState("%s is not a saved state" % path) from None
        if magic != MAGIC:
            raise DamagedState("%s is another kind of state: %s" % (path, magic))
        if hashlib.sha256(body).hexdigest() != checksum:
            raise DamagedState("%s is damaged: its sha256 is not the one it was saved with" % path)
        line, _, raw = body.partition(b"\n")
        described = json.loads(line)
        if described["shapes"] != [list(shape) for shape in SHAPES]:
            raise DamagedState("%s was saved by another model" % path)
        random = np.random.Generator(np.random.PCG64())
        random.bit_generator.state = described["random"]
        arrays = ENGINES[engine](_split(raw))
        state = cls(described["seed"], described["batch"], described["step"], random, arrays)
        if state.digest() != described["digest"]:
            raise DamagedState("%s does not give the state it was saved from" % path)
        return state


def _split(raw: bytes) -> Arrays:
    flat, arrays, start = np.frombuffer(raw, np.float32), [], 0
    for shape in SHAPES * 3:
        size = int(np.prod(shape))
        arrays.append(flat[start : start + size].reshape(shape))
        start += size
    return arrays
