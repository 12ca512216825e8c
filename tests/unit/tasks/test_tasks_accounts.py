"""user, group, cron, sysctl, authorized_key, known_hosts, set_stats, expect: what they decide, and on what files."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from labctl.engine.driver import execute
from labctl.events import Status
from labctl.node.fake import FakeNode
from labctl.node.functions import expecting, known_hosts
from labctl.task_types import Registry

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICzGZzVrVpea2FNIceUomL0vji6ARLqZ4I2ARB8aWKe6"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHAyBr4KzbZBYeOwubWqc0sIrhWMfYKtTB87z9BGYY0c"


@pytest.fixture
def node():
    return FakeNode("n1")


@pytest.fixture
def do(node, tmp_path):
    """`do("user", name="x")` on the fake node; what it ran is `node.log`."""
    registry = Registry()

    def call(task, *, check=False, **arguments):
        task_type = registry.get(task)
        ctx = SimpleNamespace(
            node=node, host="n1", check=check, diff=True, run_dir=tmp_path, mark=None, timeout=None
        )
        ctx.environment, ctx.shared, ctx.warned = {}, {}, []
        ctx.output = lambda _stream, _text: None
        ctx.warn = ctx.warned.append
        return execute(task_type, task_type.bind(arguments, lambda _name: None), ctx)

    return call


def argvs(node):
    return [list(call.arguments["argv"]) for call in node.log if call.op == "run"]


def account(node, groups=(), **found):
    user = {"uid": 1001, "gid": 1001, "comment": "", "home": "/home/ann", "shell": "/bin/sh", "groups": []}
    user |= {
        "home_exists": True,
        "shadow": {"password": "!", "expires": None, "min": 0, "max": 99999, "warn": 7},
    }
    user |= found

    def look(name, groups=(), local=False):
        known = {one: {"name": one, "gid": 2000} for one in groups if one in known_groups}
        return {"user": user, "groups": {one: known.get(one) for one in groups}, "namesake": True}

    known_groups = groups
    node.on_call("accounts", "user", look)
    node.on(lambda argv: argv[0] in ("usermod", "useradd", "userdel", "chpasswd", "chage"))
    return user


def test_a_user_as_asked_is_one_look(do, node):
    account(node, groups=("wheel",))
    result = do("user", name="ann", uid=1001, shell="/bin/sh", comment="")
    assert (result.status, node.round_trips) == (Status.OK, 1)
    assert result.values["home"] == "/home/ann"


def test_a_users_differences_are_one_usermod(do, node):
    account(node, groups=("wheel", "adm"))
    result = do("user", name="ann", uid=1002, groups="wheel,adm", comment="Ann", expires=0)
    assert result.status is Status.CHANGED
    assert argvs(node) == [
        ["usermod", "-u", "1002", "-G", "adm,wheel", "-c", "Ann", "-e", "1970-01-01", "ann"]
    ]
    assert "comment: Ann" in result.diff[0]["after"]


def test_a_password_never_stands_in_a_command_line(do, node):
    account(node)
    result = do("user", name="ann", password="$6$a$hash", comment="Ann")
    assert result.status is Status.CHANGED
    assert not any("$6$" in word for argv in argvs(node) for word in argv)
    (typed,) = [call.arguments["stdin"] for call in node.log if call.op == "run" and call.arguments["stdin"]]
    assert typed == b"ann:$6$a$hash\n"
    assert result.values["password"] == "NOT_LOGGING_PASSWORD"


def test_groups_are_added_or_set(do, node):
    user = account(node, ("wheel",))
    user["groups"] = ["adm"]
    do("user", name="ann", groups=["wheel"], append=True)
    do("user", name="ann", groups=["wheel"])
    assert [argv[2] for argv in argvs(node)] == ["adm,wheel", "wheel"]


def test_a_group_that_is_not_there_yet_is_unknown_in_a_dry_run(do, node):
    account(node)
    assert do("user", name="ann", groups=["nope"]).status is Status.FAILED
    assert do("user", name="ann", groups=["nope"], check=True).status is Status.UNKNOWN


def crontab(node, text):
    node.on(("crontab", "-l"), stdout=text.encode())
    node.on(("crontab", "-"))


def written(node):
    return next(
        call.arguments["stdin"].decode() for call in node.log if call.op == "run" and call.arguments["stdin"]
    )


def test_a_job_is_added_below_its_name(do, node):
    crontab(node, "# mine\n0 1 * * * other\n")
    result = do("cron", name="check", minute="5", hour="*/2", job="/bin/true")
    assert result.status is Status.CHANGED
    assert written(node) == "# mine\n0 1 * * * other\n#Ansible: check\n5 */2 * * * /bin/true\n"
    assert result.values["jobs"] == ["check"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"special_time": "daily", "job": "x"}, "@daily x"),
        ({"job": "x", "disabled": True}, "#* * * * * x"),
        ({"job": "x\n", "day": "1", "weekday": "MON"}, "* * 1 * MON x"),
    ],
)
def test_a_jobs_line(do, node, arguments, line):
    crontab(node, "")
    do("cron", name="j", **arguments)
    assert written(node).splitlines()[1] == line


def test_a_job_as_asked_is_left_alone_and_a_job_without_a_name_gets_one(do, node):
    crontab(node, "#Ansible: j\n* * * * * x\n")
    assert do("cron", name="j", job="x").status is Status.OK
    crontab(node, "* * * * * x\n")
    assert do("cron", name="j", job="x").status is Status.CHANGED
    assert written(node) == "#Ansible: j\n* * * * * x\n"


def test_variables_of_a_crontab(do, node):
    crontab(node, 'A="1"\n* * * * * x\n')
    do("cron", name="B", env=True, job="2", insertafter="A")
    assert written(node) == 'A="1"\nB="2"\n* * * * * x\n'
    assert do("cron", name="A", env=True, job="1").status is Status.OK
    assert do("cron", name="C", env=True, state="absent").status is Status.OK


def test_a_cron_file_without_jobs_is_removed(do, node):
    node.add_file("/etc/cron.d/mine", b"#Ansible: j\n* * * * * root x\n")
    result = do("cron", name="j", cron_file="mine", state="absent")
    assert result.status is Status.CHANGED
    assert "/etc/cron.d/mine" not in node.entries


def test_cron_says_what_does_not_go_together(do, node):
    crontab(node, "")
    for arguments, said in (
        ({"special_time": "daily", "minute": "1", "job": "x"}, "special_time"),
        ({"cron_file": "x", "job": "x"}, "user"),
        ({}, "specify 'job'"),
        ({"job": "x", "insertafter": "A"}, "env=yes"),
    ):
        assert said in do("cron", name="j", **arguments).values["msg"]


def parameter(node, value, text):
    node.on_call("kernel", "parameter", lambda name, path: {"value": value, "text": text, "path": path})
    node.add_file("/etc/sysctl.conf", (text or "").encode())
    node.on(lambda argv: argv[0] == "sysctl")


def test_a_kernel_parameter_is_written_and_read_again(do, node):
    parameter(node, "0", "# c\nvm.x = 1\n")
    assert do("sysctl", name="net.ipv4.ip_forward", value="yes").status is Status.CHANGED
    assert node.read("/etc/sysctl.conf") == b"# c\nvm.x=1\nnet.ipv4.ip_forward=1\n"
    assert argvs(node) == [["sysctl", "-p", "/etc/sysctl.conf"]]


def test_a_kernel_parameter_as_asked(do, node):
    parameter(node, "1", "net.ipv4.ip_forward=1\n")
    assert do("sysctl", name="net.ipv4.ip_forward", value="1").status is Status.OK
    parameter(node, "0", "net.ipv4.ip_forward=1\n")
    assert do("sysctl", name="net.ipv4.ip_forward", value="1", reload=False).status is Status.OK
    assert do("sysctl", name="net.ipv4.ip_forward", value="1", sysctl_set=True, reload=False).changed
    assert argvs(node) == [["sysctl", "-w", "net.ipv4.ip_forward=1"]]


def keys(node, text):
    kept = {"text": text}
    node.on_call(
        "authorized_keys",
        "look",
        lambda **given: {
            "home": "/root",
            "keyfile": "/k",
            "text": kept["text"],
            "key": given["key"],
            "problem": None,
        },
    )
    node.on_call("authorized_keys", "keep", lambda **given: kept.update(text=given["text"]))
    return kept


def test_a_key_is_added_once_with_its_options(do, node):
    kept = keys(node, f"# mine\n{OTHER} you\n")
    arguments = {"user": "root", "key": f"{KEY} me", "key_options": 'no-pty,from="10.0.0.0/8,::1"'}
    assert do("authorized_key", **arguments).status is Status.CHANGED
    assert kept["text"] == f'# mine\n{OTHER} you\nno-pty,from="10.0.0.0/8,::1" {KEY} me\n'
    assert do("authorized_key", **arguments).status is Status.OK
    assert do("authorized_key", user="root", key=KEY, state="absent").status is Status.CHANGED
    assert kept["text"] == f"# mine\n{OTHER} you\n"


def test_keys_that_are_the_only_ones(do, node):
    kept = keys(node, f"# mine\n{OTHER} you\n")
    assert do("authorized_key", user="root", key=f"{KEY} a\n", exclusive=True).changed
    assert kept["text"] == f"{KEY} a\n"
    assert "invalid key" in do("authorized_key", user="root", key="nonsense").values["msg"]


def test_host_keys_are_found_by_name_pattern_and_hash(tmp_path):
    path = tmp_path / "known"
    path.write_text(f"*.example.com,!bad.example.com {KEY}\n[h]:22 {OTHER}\n")

    def gone(host):
        found = known_hosts.plan(host, None, str(path), False, False)
        return found["before"] != found["after"]

    assert [gone(host) for host in ("a.example.com", "bad.example.com", "[h]:22", "h")] == [
        True,
        False,
        True,
        False,
    ]
    hashed = known_hosts.plan("h", f"h {KEY}", str(path), True, True)["after"]
    assert "\nh " not in hashed
    path.write_text(hashed)
    assert known_hosts.plan("h", f"h {KEY}", str(path), True, True)["after"] == hashed
    assert known_hosts.plan("x", f"h {KEY}", str(path), False, True)["problem"]


def test_set_stats_adds_up():
    task = Registry().get("set_stats")
    ctx = SimpleNamespace(host="a", shared={}, mark=None)
    for data in ({"n": 1, "m": {"x": 1}, "l": [1]}, {"n": 2, "m": {"y": 2}, "l": [2]}):
        task.run(task.bind({"data": data}, lambda _: None), ctx)
    task.run(task.bind({"data": {"n": 5}, "aggregate": False, "per_host": True}, lambda _: None), ctx)
    assert ctx.shared["set_stats"] == {"_run": {"n": 3, "m": {"x": 1, "y": 2}, "l": [1, 2]}, "a": {"n": 5}}


class TestConversation:
    ASK = ("python3", "-c", "print('hi ' + input('Name? ') + input('Name? '))")

    def test_each_question_gets_the_next_answer(self):
        told = expecting.converse(list(self.ASK), {"(?i)name": ["Ann", "Bob"]})
        assert (told["rc"], told["unanswered"]) == (0, None)
        assert told["output"].replace("\r", "").splitlines()[-1].endswith("hi AnnBob")

    def test_answers_are_not_shown_unless_asked(self):
        assert "secret" not in expecting.converse([*self.ASK[:2], "input('P: ')"], {"P:": "secret"})["output"]
        assert (
            "secret"
            in expecting.converse([*self.ASK[:2], "input('P: ')"], {"P:": "secret"}, echo=True)["output"]
        )

    def test_a_question_too_many_ends_it(self):
        assert expecting.converse(list(self.ASK), {"Name": ["Ann"]})["unanswered"] == "Name"

    def test_silence_ends_it(self):
        assert expecting.converse(list(self.ASK), {"never": "x"}, timeout=0.5)["rc"] is None

    def test_a_program_that_is_not_there(self):
        assert expecting.converse(["/does/not/exist"], {})["rc"] == 127
