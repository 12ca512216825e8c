"""Who reads connections: the one that waits for what they bring, or a thread for all of them."""

import os
import queue
import threading
import time

import pytest

from labctl.node.duty import Duty


class Line:
    """A pipe as a connection; what comes is put into the queue, with the name of the thread that has read it."""

    def __init__(self, duty):
        self.heard = queue.SimpleQueue()
        self.near, self.far = os.pipe()
        self._duty = duty
        duty.add(self.near, self._ready)

    def _ready(self):
        data = os.read(self.near, 100)
        if not data:
            self._duty.remove(self.near)
        self.heard.put((data, threading.current_thread().name))

    def say(self, data):
        os.write(self.far, data)


@pytest.fixture
def duty():
    return Duty()


@pytest.fixture
def line(duty):
    line = Line(duty)
    yield line
    duty.remove(line.near)
    os.close(line.near)
    os.close(line.far)


def test_who_claims_it_reads(duty, line):
    line.say(b"x")
    assert duty.claim()
    duty.read_for(line.heard, 10)
    duty.release()
    assert line.heard.get_nowait() == (b"x", threading.current_thread().name)


def test_what_somebody_waits_for_is_read_at_once_by_the_thread_for_it(duty, line):
    with duty.waited_for():
        line.say(b"x")
        assert line.heard.get(timeout=10) == (b"x", "labctl-duty")


def test_what_nobody_waits_for_is_read_too(duty, line):
    line.say(b"x")
    assert line.heard.get(timeout=10) == (b"x", "labctl-duty")


def test_the_thread_leaves_it_to_who_claims_it(duty, line):
    with duty.waited_for():
        line.say(b"x")
        line.heard.get(timeout=10)  # from now on the thread waits for more
        for _ in range(200):
            assert duty.claim()
            line.say(b"y")
            duty.read_for(line.heard, 10)
            assert line.heard.get_nowait()[0] == b"y"
            duty.release()
            line.say(b"z")
            assert line.heard.get(timeout=10)[0] == b"z"


def test_who_has_claimed_it_and_is_held_up_is_stood_in_for(duty, line):
    assert duty.claim()
    line.say(b"x")
    assert line.heard.get(timeout=10) == (b"x", "labctl-duty")
    line.say(b"y")
    duty.read_for(line.heard, 10)
    assert line.heard.get(timeout=10)[0] == b"y"
    duty.release()


def test_only_one_claims_it(duty, line):
    assert duty.claim()
    assert not duty.claim()
    duty.release()
    assert duty.claim()
    duty.release()


def test_without_connections_there_is_nothing_to_claim(duty):
    assert not duty.claim()


def test_it_ends_when_time_is_up(duty, line):
    assert duty.claim()
    duty.read_for(line.heard, 0.01)
    assert line.heard.empty()
    duty.release()


def test_what_comes_from_elsewhere_ends_the_wait(duty, line):
    """Each of many puts is heard, wherever the reader is: none may be slept through until the time is up."""
    assert duty.claim()
    other = queue.SimpleQueue()
    taken = threading.Semaphore(0)

    def put():
        for number in range(2000):
            other.put(number)
            duty.heard()
            taken.acquire()

    thread = threading.Thread(target=put)
    thread.start()
    began = time.monotonic()
    for number in range(2000):
        duty.read_for(other, 60)
        assert other.get_nowait() == number
        taken.release()
    thread.join()
    duty.release()
    assert time.monotonic() - began < 60


def test_an_ended_connection_is_told_once(duty):
    line = Line(duty)
    os.close(line.far)
    assert line.heard.get(timeout=10)[0] == b""
    with pytest.raises(queue.Empty):
        line.heard.get(timeout=0.05)
    os.close(line.near)
