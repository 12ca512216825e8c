"""What is done unless something comes in time."""

import threading

from labctl.ssh.limits import Limits


def test_each_in_its_time_whatever_order_they_were_set_in():
    limits, reached, done = Limits(), [], threading.Event()
    limits.set(0.15, done.set)
    limits.set(0.1, lambda: reached.append("second"))
    limits.set(0.02, lambda: reached.append("first"))
    assert done.wait(10)
    assert reached == ["first", "second"]


def test_what_was_cancelled_is_not_done():
    limits, reached, done = Limits(), [], threading.Event()
    cancelled = limits.set(0.02, lambda: reached.append("cancelled"))
    cancelled.cancel()
    last = limits.set(0.05, done.set)
    assert done.wait(10)
    assert not reached
    assert (cancelled.over, last.over) == (False, True)


def test_one_that_hangs_holds_up_nobody():
    limits, hang, done = Limits(), threading.Event(), threading.Event()
    limits.set(0.0, hang.wait)
    limits.set(0.02, done.set)
    assert done.wait(10)
    hang.set()


def test_one_that_waits_keeps_no_process_from_ending():
    limits = Limits()
    limit = limits.set(3600, lambda: None)
    (thread,) = [one for one in threading.enumerate() if one.name == "labctl-limits" and one.daemon][-1:]
    assert thread.daemon
    limit.cancel()
