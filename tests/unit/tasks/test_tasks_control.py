"""assert, debug, fail, set_fact, pause, ping, wait_for_connection."""

import time

import pytest

from labctl.errors import Unreachable
from labctl.events import Status
from labctl.node.fake import FakeNode
from labctl.task_types import Registry
from labctl.variables import Unknown


class TestAssert:
    def test_passes(self, task):
        task.variables = {"n": 5}
        result = task("assert", that=["n == 5", "n is defined", True, "{{ n > 4 }}"])
        assert (result.status, result.values["msg"]) == (Status.OK, "All assertions passed")
        assert task("assert", that="n == 5", success_msg="n is {{ n }}").values["msg"] == "n is 5"

    def test_fails_with_the_expression(self, task):
        task.variables = {"n": 5}
        result = task("assert", that=["n == 5", "n == 6"])
        assert result.status is Status.FAILED
        assert (result.values["assertion"], result.values["evaluated_to"]) == ("n == 6", False)
        assert (result.values["msg"], result.values["assertion"]) == ("Assertion failed", "n == 6")
        assert task("assert", that="n > 5", fail_msg=["no", "n: {{ n }}"]).values["msg"] == ["no", "n: 5"]
        assert task("assert", that="n > 5", quiet=True).values["assertion"] == "n > 5"

    @pytest.mark.parametrize("that", ["n", "name", "missing", "n =="])
    def test_what_is_not_a_boolean(self, task, that):
        task.variables = {"n": 5, "name": "x"}
        assert task("assert", that=that).status is Status.FAILED

    def test_of_something_unknown(self, task):
        task.variables = {"r": {"rc": Unknown("'true' is not run in a dry run")}}
        result = task("assert", that="r.rc == 0", check=True)
        assert (result.status, "'true' is not run" in result.unknown) == (Status.UNKNOWN, True)


class TestDebug:
    def test_msg_and_var(self, task):
        task.variables = {"d": {"a": [1, 2]}, "n": 3}
        assert task("debug", msg="{{ n }} {{ d.a }}").values["msg"] == "3 [1, 2]"
        assert task("debug", msg="{{ d }}").values["msg"] == {"a": [1, 2]}
        assert task("debug", var="d.a[1] + n").values["d.a[1] + n"] == 5
        assert task("debug", var="{{ d.a }}").values["{{ d.a }}"] == [1, 2]
        assert task("debug", var="nope").values["nope"] == "<< error 1 - 'nope' is undefined >>"
        assert task("debug").values["msg"] == "Hello world!"

    def test_verbosity(self, task):
        assert task("debug", msg="x", verbosity=2).status is Status.SKIPPED
        task.verbosity = 2
        assert task("debug", msg="x", verbosity=2).status is Status.OK


def test_fail(task):
    result = task("fail", msg="because")
    assert (result.status, result.values["msg"]) == (Status.FAILED, "because")


class TestSetFact:
    def test_sets_native_values_under_rendered_names(self, task):
        task.variables = {"n": 5, "name": "who"}
        facts = task("set_fact", **{"a": "{{ n }}", "{{ name }}_is": ["{{ n }}"]}).values["ansible_facts"]
        assert facts == {"a": 5, "who_is": [5]}

    def test_bad_names(self, task):
        assert "not a variable name" in task("set_fact", **{"a-b": 1}).values["msg"]
        assert task("set_fact").status is Status.FAILED


class TestPause:
    def test_waits(self, task):
        result = task("pause", minutes=2)
        assert result.status is Status.OK
        assert task.ctx.waited == pytest.approx(120, abs=1)

    def test_a_dry_run_does_not(self, task):
        task("pause", seconds=500, check=True)
        assert task.ctx.waited == 0

    def test_hosts_share_one_pause_and_a_second_round_is_a_new_one(self, task):
        task("pause", seconds=50)
        rounds = task.shared["pause"]["None"]
        rounds.hosts = {"another"}
        rounds.until = time.monotonic() + 10
        task("pause", seconds=50)
        assert task.ctx.waited == pytest.approx(10, abs=1)
        task("pause", seconds=50)
        assert task.ctx.waited == pytest.approx(50, abs=1)

    def test_nobody_to_ask(self, task, monkeypatch):
        monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
        assert task("pause", prompt="Sure?").values["user_input"] == ""
        assert any("Sure?" in line for line in task.ctx.said)


class TestConnection:
    def test_ping(self, task):
        assert task("ping").values["ping"] == "pong"
        assert task.trips == 1
        assert task("ping", data="crash").status is Status.FAILED

    def test_waits_until_it_answers(self, task):
        down = [Unreachable("no route"), Unreachable("refused")]

        class Rebooting(FakeNode):
            round_trips = 0

            def stat(self, path, **keys):
                if down:
                    raise down.pop()
                return super().stat(path, **keys)

        task.node = Rebooting()
        assert task("wait_for_connection", sleep=1).status is Status.OK
        assert task.ctx.waited == 2

    def test_gives_up(self, task):
        class Down(FakeNode):
            round_trips = 0

            def stat(self, path, **keys):
                raise Unreachable("no route to host")

        task.node = Down()
        result = task("wait_for_connection", timeout=0.05, sleep=0.02)
        assert result.status is Status.FAILED
        assert "no route to host" in result.values["msg"]


def test_every_task_type_and_argument_is_documented():
    registry = Registry()
    for name in registry.names():
        task_type = registry.get(name)
        assert task_type.doc, name
        for parameter in task_type.parameters.values():
            assert parameter.doc, f"{name}: {parameter.name}"
