"""apt, service, mount, cgroup_check, containerd, nfs, requirements: what they decide from what a node says."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.engine.driver import execute
from labctl.events import Status
from labctl.node.fake import FakeNode
from labctl.node.functions import mounts, packages, services
from labctl.task_types import Registry

REGISTRY = Registry()


@pytest.fixture
def node():
    return FakeNode("n1")


@pytest.fixture
def do(node, tmp_path):
    """`do("apt", name="x")`: run a task type on the fake node. `check=True` is a dry run."""

    def call(task, *, check=False, diff=False, **arguments):
        task_type = REGISTRY.get(task)
        ctx = SimpleNamespace(
            node=node,
            host="n1",
            check=check,
            diff=diff,
            run_dir=tmp_path,
            mark=None,
            timeout=None,
            environment={},
            progress=lambda *_: None,
        )
        ctx.output = lambda _stream, _text: None
        return execute(task_type, task_type.bind(arguments, lambda _name: None), ctx)

    return call


def any_of(program):
    """Every command line of this program."""
    return lambda argv: argv[0] == program


def argvs(node):
    return [list(call.arguments["argv"]) for call in node.log if call.op == "run"]


# apt


def installed(node, lists_age=10.0, apt=True, candidates=None, news=True, **versions):
    """Script `packages.state`: versions by name; what is not named is not installed. `news`: whether the lists
    are newer each time."""
    times = itertools.count(step=int(news))

    def state(names, candidates=False):
        offered = dict(extra) if candidates else {}
        found = {name: {"version": versions.get(name), "candidate": offered.get(name)} for name in names}
        return {
            "apt": apt,
            "packages": found,
            "lists_age": lists_age,
            "lists_time": next(times),
        }

    extra = candidates or {}
    node.on_call("packages", "state", state)
    return versions


def apt_installs(node, versions, **new):
    node.on(any_of("apt-get"), stdout=b"Setting up")
    original = node.run

    def run(argv, **keys):
        done = original(argv, **keys)
        versions.update(new)
        return done

    node.run = run


def test_apt_with_nothing_to_do_is_one_round_trip(do, node):
    installed(node, vim="9.1", git="2.4")
    result = do("apt", name=["vim", "git"])
    assert (result.status, node.round_trips) == (Status.OK, 1)


def test_apt_installs_all_that_is_missing_by_one_call(do, node):
    versions = installed(node, vim="9.1")
    apt_installs(node, versions, git="2.4", jq="1.7")
    result = do("apt", name="vim,git,jq", install_recommends=False)
    assert result.status is Status.CHANGED
    (argv,) = argvs(node)
    assert argv[0] == "apt-get"
    assert argv[-3:] == ["install", "git", "jq"]
    assert "APT::Install-Recommends=false" in argv
    assert "DPkg::Lock::Timeout=60" in argv


@pytest.mark.parametrize(
    ("wanted", "status"), [("vim=9.*", Status.OK), ("vim=9.1", Status.OK), ("vim=8.*", Status.CHANGED)]
)
def test_apt_versions_may_have_wildcards(do, node, wanted, status):
    installed(node, vim="9.1")
    node.on(any_of("apt-get"))
    assert do("apt", name=wanted).status is status


def test_apt_latest_upgrades_only_what_has_a_newer_candidate(do, node):
    installed(node, vim="9.0", git="2.4", candidates={"vim": "9.1", "git": "2.4"})
    node.on(any_of("apt-get"))
    assert do("apt", name="vim,git", state="latest").status is Status.CHANGED
    assert argvs(node)[0][-2:] == ["install", "vim"]


def test_apt_removes_only_what_is_there(do, node):
    installed(node, vim="9.0")
    node.on(any_of("apt-get"))
    assert do("apt", name="vim,git", state="absent", purge=True).status is Status.CHANGED
    assert argvs(node)[0][-2:] == ["purge", "vim"]
    node.log.clear()
    assert do("apt", name="git", state="absent").status is Status.OK
    assert argvs(node) == []


def test_apt_dry_run_lists_what_apt_says_and_runs_nothing(do, node):
    installed(node)
    plan = {"rc": 0, "install": [["git", None, "2.4"], ["libcurl", "7", "8"]], "remove": ["old"], "error": ""}
    node.on_call("packages", "simulate", lambda argv: plan)
    result = do("apt", name="git", check=True, diff=True)
    assert (result.status, argvs(node)) == (Status.CHANGED, [])
    assert result.diff[0]["after"] == "git 2.4\nlibcurl 8\n"
    assert result.diff[0]["before"] == "libcurl 7\nold\n"


def test_apt_dry_run_fails_as_the_real_run_would(do, node):
    installed(node)
    said = {"rc": 100, "install": [], "remove": [], "error": "E: Unable to locate package gti"}
    node.on_call("packages", "simulate", lambda argv: said)
    result = do("apt", name="gti", check=True)
    assert result.status is Status.FAILED
    assert "No package matching 'gti' is available" in result.values["msg"]
    assert do("apt", name="gti", update_cache=True, check=True).status is Status.UNKNOWN


def test_apt_fetches_lists_only_when_they_are_old(do, node):
    installed(node, lists_age=50.0, vim="9")
    node.on(any_of("apt-get"))
    assert do("apt", name="vim", update_cache=True, cache_valid_time=100).values["cache_updated"] is False
    result = do("apt", name="vim", update_cache=True, cache_valid_time=10)
    assert (result.status, result.values["cache_updated"]) == (Status.OK, True)
    assert do("apt", update_cache=True).status is Status.CHANGED
    assert do("apt", update_cache=True, check=True).status is Status.UNKNOWN


def test_apt_that_fetches_the_lists_it_had_changes_nothing(do, node):
    installed(node, news=False)
    node.on(any_of("apt-get"))
    result = do("apt", update_cache=True)
    assert (result.status, result.values["cache_updated"]) == (Status.OK, False)


def test_apt_update_whose_fetch_failed_fails(do, node):
    installed(node)
    node.on(any_of("apt-get"), stdout=b"Err:1 http://x\n", stderr=b"W: Failed to fetch http://x\n")
    result = do("apt", update_cache=True, update_cache_retries=1)
    assert result.status is Status.FAILED
    assert "Failed to fetch" in result.values["msg"]


def test_apt_waits_for_another_user_of_apt(do, node):
    installed(node)
    answers = iter([(100, b"E: Could not get lock /var/lib/apt/lists/lock"), (0, b"")])
    original = node.run
    node.on(any_of("apt-get"))

    def run(argv, **keys):
        rc, said = next(answers)
        done = original(argv, **keys)
        return type(done)(done.argv, rc, b"", said, 0, 0)

    node.run = run
    node.on_call("packages", "wait_for_locks", lambda timeout: True)
    assert do("apt", update_cache=True).status is Status.CHANGED


def test_apt_on_another_system_and_bad_names(do, node):
    installed(node, apt=False)
    assert "no apt" in do("apt", name="vim").values["msg"]
    assert "not a package's name" in do("apt", name="vim git").values["msg"]
    assert "deb:" in do("apt", name="/tmp/x.deb").values["msg"]


def test_apt_installs_a_package_file_once(do, node):
    versions = installed(node)
    about = [{"path": "/tmp/x.deb", "name": "x", "version": "1", "architecture": "all"}]
    node.on_call("packages", "describe_debs", lambda paths: about)
    node.on(any_of("apt-get"))
    assert do("apt", deb="/tmp/x.deb").status is Status.CHANGED
    assert argvs(node)[0][-2:] == ["install", "/tmp/x.deb"]
    versions["x"] = "1"
    assert do("apt", deb="/tmp/x.deb").status is Status.OK


def test_package_is_apt_here(do, node):
    installed(node, vim="9.1")
    assert do("package", name="vim").status is Status.OK


def test_dpkgs_records_are_read(tmp_path):
    status = tmp_path / "status"
    status.write_text(
        "Package: vim\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2:9.1\n"
        "Provides: editor, vi (= 1)\nDescription: an editor\n Package: not-this\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: broken\nStatus: install ok half-configured\nVersion: 1\n"
    )
    found = packages.state(["vim", "vim:amd64", "vim:arm64", "vi", "gone", "broken"], status=str(status))
    versions = {name: about["version"] for name, about in found["packages"].items()}
    assert versions == {
        "vim": "2:9.1",
        "vim:amd64": "2:9.1",
        "vim:arm64": None,
        "vi": "2:9.1",
        "gone": None,
        "broken": None,
    }


def test_apts_simulation_is_read(monkeypatch):
    text = "Inst git (2.4 Debian:13 [amd64])\nInst vim [9.0] (9.1 Debian:13 [amd64]) []\nRemv old [1]\nConf git (2.4)\n"
    said = SimpleNamespace(returncode=0, stdout=text, stderr="")
    monkeypatch.setattr(packages, "_run", lambda argv: said)
    found = packages.simulate(["apt-get", "install", "git"])
    assert found["install"] == [["git", None, "2.4"], ["vim", "9.0", "9.1"]]
    assert found["remove"] == ["old"]


# service


def service(node, manager="init.d", **state):
    state = {"manager": manager, "found": True, "running": True, "enabled": True, "status": "", **state}
    unit = {
        "systemctl": True,
        "booted": True,
        "init": "systemd",
        "file": "enabled",
        "enabled": True,
        "script": False,
    }
    unit |= {"names": [], "status": {"LoadState": "loaded"}}
    state["unit"] = unit

    def act(running):
        state["running"] = running
        unit["status"]["ActiveState"] = "active" if running else "inactive"

    act(state["running"])
    node.on_call("services", "state", lambda name: dict(state))

    return act


@pytest.mark.parametrize(
    ("state", "running", "verb"),
    [
        ("started", True, None),
        ("started", False, "start"),
        ("started", None, "start"),
        ("stopped", False, None),
        ("stopped", True, "stop"),
        ("restarted", True, "restart"),
        ("reloaded", True, "reload"),
        ("reloaded", False, "start"),
    ],
)
@pytest.mark.parametrize("manager", ["init.d", "systemd"])
def test_service_does_what_is_missing(do, node, manager, state, running, verb):
    act = service(node, manager, running=running)
    node.on(lambda argv: argv[0] in ("service", "systemctl"))
    original = node.run

    def run(argv, **keys):
        act("stop" not in argv)
        return original(argv, **keys)

    node.run = run
    result = do("service", name="x", state=state)
    wanted = ["service", "x", verb] if manager == "init.d" else ["systemctl", verb, "--", "x"]
    assert argvs(node) == ([wanted] if verb else [])
    assert result.status is (Status.CHANGED if verb else Status.OK)
    if verb is None:
        assert node.round_trips == 1


def test_service_enables(do, node):
    service(node, enabled=False)
    node.on(any_of("update-rc.d"))
    assert do("service", name="x", enabled=True).status is Status.CHANGED
    assert argvs(node) == [["update-rc.d", "x", "enable"]]


def test_service_that_ends_at_once_is_a_failure(do, node):
    service(node, running=False, status="x is dead")
    node.on(any_of("service"))
    result = do("service", name="x", state="started")
    assert result.status is Status.FAILED
    assert "does not run after start: x is dead" in result.values["msg"]


def test_service_that_is_not_there(do, node):
    service(node, found=False, running=None, names=["containerd", "ssh"])
    result = do("service", name="containrd", state="started")
    assert "requested service containrd" in result.values["msg"]
    assert "did you mean 'containerd'" in result.values["msg"]
    assert do("service", name="containrd", state="started", check=True).status is Status.UNKNOWN


def test_service_without_a_manager(do, node):
    service(node, manager=None)
    assert "neither systemd nor /etc/init.d" in do("service", name="x", state="started").values["msg"]


def test_systemds_words_are_read(monkeypatch):
    show = (
        "LoadState=loaded\nActiveState=activating\nSubState=start\nUnitFileState=static\n"
        "ExecStart={ path=/bin/x ;\n argv[]=/bin/x }\nId=x.service\n"
    )

    def said(argv):
        return SimpleNamespace(returncode=0, stdout="static\n" if "is-enabled" in argv else show, stderr="")

    monkeypatch.setattr(services, "_run", said)
    monkeypatch.setattr(services.os, "access", lambda *_: True)
    monkeypatch.setattr(services.os.path, "isdir", lambda _: True)
    found = services._systemd("x")
    assert {name: found[name] for name in ("manager", "found", "running", "enabled", "status")} == {
        "manager": "systemd",
        "found": True,
        "running": True,
        "enabled": None,
        "status": "activating (start)",
    }
    assert found["unit"]["status"]["ExecStart"] == "{ path=/bin/x ;\n argv[]=/bin/x }"
    assert found["unit"]["status"]["Id"] == "x.service"


# mount

FSTAB = "# comment\n/dev/sda1  /      ext4  errors=remount-ro 0 1\n"


def mounted(node, *, source=None, fstype="ext4", same=None, fstab=FSTAB, directory=True):
    node.add_file("/etc/fstab", fstab.encode(), mode=0o644)

    def state(path, src=None, fstab="/etc/fstab"):
        about = {"source": source, "fstype": fstype, "options": "rw", "root": "/"} if source else None
        text = node.read(fstab).decode()
        return {"mounted": about, "same": same, "directory": directory, "fstab": text}

    node.on_call("mounts", "state", state)
    node.on(any_of("mount"))
    node.on(any_of("umount"))


NFS = {"path": "/srv/v", "src": "master:/v", "fstype": "nfs"}


def test_mount_adds_its_line_and_mounts(do, node):
    mounted(node, directory=False)
    result = do("mount", state="mounted", **NFS)
    assert result.status is Status.CHANGED
    assert node.read("/etc/fstab").decode() == FSTAB + "master:/v /srv/v nfs defaults 0 0\n"
    assert argvs(node) == [["mount", "/srv/v"]]


def test_mount_that_is_as_asked_is_left_alone_whatever_its_spaces(do, node):
    line = "master:/v\t/srv/v   nfs\tdefaults\n"
    mounted(node, source="master:/v", fstype="nfs4", same=True, fstab=FSTAB + line)
    result = do("mount", state="mounted", **NFS)
    assert (result.status, node.round_trips) == (Status.OK, 1 + 1)  # the fake reads fstab through the node
    assert argvs(node) == []


def test_mount_of_another_source_is_replaced(do, node):
    mounted(node, source="other:/v", fstype="nfs", same=False)
    do("mount", state="mounted", **NFS)
    assert argvs(node) == [["umount", "/srv/v"], ["mount", "/srv/v"]]


def test_mount_with_new_options_is_remounted(do, node):
    mounted(node, source="master:/v", fstype="nfs", same=True, fstab="master:/v /srv/v nfs ro 0 0\n")
    do("mount", state="mounted", opts="rw", **NFS)
    assert argvs(node) == [["mount", "-o", "remount,rw", "/srv/v"]]


def test_mount_absent_unmounts_and_takes_its_line_away(do, node):
    mounted(node, source="master:/v", fstype="nfs", fstab=FSTAB + "master:/v /srv/v nfs ro 0 0\n")
    node.on(any_of("rmdir"))
    assert do("mount", path="/srv/v", state="absent").status is Status.CHANGED
    assert node.read("/etc/fstab").decode() == FSTAB
    assert argvs(node)[0] == ["umount", "/srv/v"]


def test_mount_absent_leaves_a_plain_directory(do, node):
    mounted(node)
    node.mkdir("/srv/v")
    assert do("mount", path="/srv/v", state="absent").status is Status.OK


def test_mount_escapes_spaces(do, node):
    mounted(node)
    do("mount", path="/srv/a b", src="tmpfs", fstype="tmpfs", state="present")
    assert "tmpfs /srv/a\\040b tmpfs" in node.read("/etc/fstab").decode()
    assert do("mount", path="/srv/a b", src="tmpfs", fstype="tmpfs", state="present").status is Status.OK


def test_mount_says_what_it_needs(do, node):
    assert "needs the argument 'src'" in do("mount", path="/x", state="mounted", fstype="nfs").values["msg"]
    assert "must be absolute" in do("mount", path="x", state="absent").values["msg"]


def test_the_topmost_mount_is_found():
    about = mounts.state("/proc")["mounted"]
    assert (about["fstype"], mounts.state("/proc", "proc")["same"]) == ("proc", True)
    assert mounts.state("/proc/self")["mounted"] is None


def test_a_marked_directory_is_a_shared_directory(tmp_path):
    assert mounts.volume(str(tmp_path))["kind"] not in (None, "shared-directory", "nfs")
    (tmp_path / mounts.MARKER).write_text("x")
    assert mounts.volume(str(tmp_path))["kind"] == "shared-directory"
    assert mounts.volume(str(tmp_path / "no"))["kind"] is None


# cgroup_check


def cgroups(node, version="v2", controllers=("cpu", "memory", "pids"), delegated=None):
    found = {
        "version": version,
        "controllers": list(controllers),
        "delegated": list(controllers if delegated is None else delegated),
        "mounts": {},
    }
    node.on_call("capacity", "cgroups", lambda: found)


def test_cgroup_check_returns_what_it_found(do, node):
    cgroups(node)
    result = do("cgroup_check", require="v2", controllers="cpu,memory")
    assert (result.status, result.values["version"]) == (Status.OK, "v2")


def test_cgroup_check_says_what_is_wrong_and_still_returns_values(do, node):
    cgroups(node, "hybrid")
    result = do("cgroup_check", require="v2")
    assert result.status is Status.FAILED
    assert "v2 is required" in result.values["msg"]
    assert "systemd.unified_cgroup_hierarchy=1" in result.values["msg"]
    assert result.values["version"] == "hybrid"


def test_cgroup_check_of_controllers(do, node):
    cgroups(node, delegated=("cpu",))
    assert "no hugetlb controller" in do("cgroup_check", controllers="hugetlb").values["msg"]
    assert "memory cannot be handed on" in do("cgroup_check", controllers="cpu,memory").values["msg"]
    assert do("cgroup_check", controllers="memory", delegated=False).status is Status.OK
    cgroups(node, "v1", ("blkio",))
    assert do("cgroup_check", controllers="io").status is Status.OK


# containerd


def containerd(node, version="1.7.24", config=None, answers=True, may=True, comes_up=True):
    state = {"version": version, "answers": answers, "server": version, "may_lower_oom_score": may}

    def look(config):
        text = node.read(config).decode() if node.stat(config) else None
        return {**state, "config": text}

    node.on_call("capacity", "containerd", look)
    if config is not None:
        node.add_file("/etc/containerd/config.toml", config.encode())

    act = service(node, running=answers)
    node.on(any_of("service"))
    original = node.run

    def run(argv, **keys):
        state["answers"] = comes_up
        act(comes_up)
        return original(argv, **keys)

    node.run = run
    return state


CONFIG = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\n  bin_dir = "/usr/lib/cni"\n'


def test_containerd_that_is_as_asked_is_left_alone(do, node):
    containerd(node, config=CONFIG)
    result = do("containerd", version="1.7")
    assert (result.status, result.values["version"], argvs(node)) == (Status.OK, "1.7.24", [])


def test_containerd_settings_are_merged_and_the_rest_stays(do, node):
    containerd(node, config=CONFIG, may=False)
    assert do("containerd", config={"root": "/data", "debug": {"level": "info"}}).status is Status.CHANGED
    found = tomllib.loads(node.read("/etc/containerd/config.toml").decode())
    cri = found["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri == {"cni": {"bin_dir": "/usr/lib/cni"}, "restrict_oom_score_adj": True}
    assert (found["root"], found["debug"], found["version"]) == ("/data", {"level": "info"}, 2)
    assert argvs(node) == [["service", "containerd", "restart"]]
    again = do("containerd", config={"root": "/data", "debug": {"level": "info"}})
    assert again.status is Status.OK


def test_containerd_two_has_another_name_for_its_cri(do, node):
    containerd(node, version="2.1.0", config=None, may=False)
    do("containerd")
    found = tomllib.loads(node.read("/etc/containerd/config.toml").decode())
    assert found == {
        "version": 3,
        "plugins": {"io.containerd.cri.v1.runtime": {"restrict_oom_score_adj": True}},
    }


@pytest.mark.parametrize(("has", "status"), [("1.6.9", Status.FAILED), ("1.10.0", Status.OK)])
def test_containerd_versions_are_numbers(do, node, has, status):
    containerd(node, version=has, config="version = 2\n")
    result = do("containerd", version="1.7")
    assert result.status is status
    if status is Status.FAILED:
        assert "1.6.9, and 1.7 or newer is required" in result.values["msg"]


def test_containerd_that_is_down_is_started(do, node):
    containerd(node, config="version = 2\n", answers=False)
    assert do("containerd").status is Status.CHANGED
    assert argvs(node) == [["service", "containerd", "restart"]]


def test_containerd_that_does_not_come_up_is_a_failure(do, node):
    containerd(node, config="version = 2\n", answers=False, comes_up=False)
    assert do("containerd").status is Status.FAILED


def test_containerd_with_a_broken_file(do, node):
    containerd(node, config="version = \n")
    assert "is not TOML" in do("containerd").values["msg"]


def test_containerd_dry_run_where_it_is_not_installed_is_unknown(do, node):
    containerd(node, version=None)
    installed(node)
    plan = {"rc": 0, "install": [["containerd", None, "1.7.24"]], "remove": [], "error": ""}
    node.on_call("packages", "simulate", lambda argv: plan)
    assert do("containerd", update_cache=False, check=True).status is Status.UNKNOWN


# nfs


def nfs(node, *, client=False, server=False, kind="shared-directory", exports=(), serving=True):
    about = {"kind": kind, "source": "x", "fstype": "ext4"}
    found = {"client": client, "server": server, "tools": True, "server_tools": True, "volume": about}
    state = {"serving": serving}
    node.on_call("mounts", "nfs", lambda path: {**found, "exports": list(exports), **state})
    node.on_call("mounts", "serving", lambda: state["serving"])
    return state


def test_nfs_without_a_kernel_for_it_takes_the_labs_directory_and_says_so(do, node):
    nfs(node)
    result = do("nfs", mount="/srv/shared", src="master:/srv/shared")
    assert (result.status, result.values["kind"]) == (Status.OK, "shared-directory")
    assert result.values["msg"].startswith("the kernel of n1 has no NFS client; ")
    result = do("nfs", export="/srv/shared")
    assert "no NFS server" in result.values["msg"]


def test_nfs_without_anything_to_take_instead_fails(do, node):
    nfs(node, kind="ext4")
    result = do("nfs", mount="/v", src="master:/v")
    assert result.status is Status.FAILED
    assert "no shared directory of a lab" in result.values["msg"]
    nfs(node)
    assert do("nfs", mount="/v", src="master:/v", fallback=False).status is Status.FAILED


def test_nfs_exports_once(do, node):
    nfs(node, server=True, kind="ext4")
    node.mkdir("/v")
    service(node, running=True)
    node.on(any_of("exportfs"))
    assert do("nfs", export="/v", clients="10.0.0.0/24").status is Status.CHANGED
    text = node.read("/etc/exports.d/labctl.exports").decode()
    assert text.startswith("/v 10.0.0.0/24(rw,sync,")
    nfs(node, server=True, kind="ext4", exports=["/v\t10.0.0.0/24(rw)"])
    assert do("nfs", export="/v", clients="10.0.0.0/24").status is Status.OK
    assert argvs(node) == [["exportfs", "-ra"]]


def test_nfs_starts_a_server_that_does_not_serve(do, node):
    state = nfs(node, server=True, kind="ext4", serving=False)
    node.mkdir("/v")
    service(node, running=False)
    node.on(any_of("service"), effect=lambda: state.update(serving=True))
    assert do("nfs", export="/v").status is Status.CHANGED
    assert argvs(node) == [["service", "rpcbind", "start"], ["service", "nfs-kernel-server", "restart"]]
    state = nfs(node, server=True, kind="ext4", serving=False)
    node.on(any_of("service"))
    assert "does not serve" in do("nfs", export="/v").values["msg"]


def test_nfs_mounts_and_keeps_it_in_fstab(do, node):
    nfs(node, client=True, kind="ext4")
    mounted(node)
    assert do("nfs", mount="/srv/v", src="master:/v").status is Status.CHANGED
    assert argvs(node)[0][:3] == ["mount", "-t", "nfs"]
    assert "master:/v /srv/v nfs" in node.read("/etc/fstab").decode()
    mounted(node, source="master:/v", fstype="nfs4", same=True, fstab=node.read("/etc/fstab").decode())
    assert do("nfs", mount="/srv/v", src="master:/v").status is Status.OK


def test_nfs_mounts_as_version_3_where_4_does_not_work(do, node):
    nfs(node, client=True, kind="ext4")
    mounted(node)
    node.on(lambda argv: argv[0] == "mount" and "vers=3" not in argv[4], rc=32, stderr=b"No such file\n")
    assert do("nfs", mount="/srv/v", src="master:/v").status is Status.CHANGED
    fstab = node.read("/etc/fstab").decode()
    assert "master:/v /srv/v nfs vers=3,nolock," in fstab
    mounted(node, source="master:/v", fstype="nfs", same=True, fstab=fstab)
    assert do("nfs", mount="/srv/v", src="master:/v").status is Status.OK


def test_nfs_that_cannot_be_mounted_falls_back_and_leaves_no_line(do, node):
    nfs(node, client=True)
    node.on(any_of("mount"), rc=32, stderr=b"mount.nfs: Connection refused\n")
    node.add_file("/etc/fstab", FSTAB.encode())
    about = {"mounted": None, "same": None, "directory": True, "fstab": FSTAB}
    node.on_call("mounts", "state", lambda path, src=None, fstab="": about)
    result = do("nfs", mount="/srv/v", src="master:/v")
    assert result.values["kind"] == "shared-directory"
    assert "Connection refused" in result.values["msg"]
    assert node.read("/etc/fstab").decode() == FSTAB


def test_nfs_says_what_it_needs(do):
    assert "src: server:/directory" in do("nfs", mount="/v").values["msg"]
    assert "absolute path" in do("nfs", export="v").values["msg"]


# requirements


def measured(node, **values):
    base = {
        "cpus": 2,
        "memory": 8 * 10**9,
        "kernel": "6.18.44-fc",
        "storage": {"/": 300 * 10**9, "/no": None},
        "link_mbps": None,
        "link_reason": "eth0 is virtual",
        "programs": {"containerd": "1.7.24", "docker": None},
        "packages": {"nfs-common": True, "other": False},
        "cgroup": "hybrid",
    }
    node.on_call("capacity", "measure", lambda **_: {**base, **values})


@pytest.mark.parametrize(
    ("measure", "minimum", "result"),
    [
        ("cpus", 2, "pass"),
        ("cpus", "16", "fail"),
        ("memory", "8 GB", "pass"),
        ("memory", "8 GiB", "fail"),
        ("kernel", "6.14", "pass"),
        ("kernel", "6.19", "fail"),
        ("storage:/", "0.25TB", "pass"),
        ("storage:/no", "1 GB", "not measured"),
        ("link", "1 Gbit/s", "not measured"),
        ("program:containerd", "1.7", "pass"),
        ("program:containerd", "1.10", "fail"),
        ("program:docker", "24", "fail"),
        ("package:nfs-common", None, "pass"),
        ("package:other", None, "fail"),
        ("cgroup", "v2", "fail"),
    ],
)
def test_requirements_judge_each_row(do, node, measure, minimum, result):
    measured(node)
    row = {"item": "it", "measure": measure} | ({"minimum": minimum} if minimum else {})
    assert do("requirements", rows=[row]).values["rows"][0]["result"] == result


@pytest.mark.parametrize(("speed", "result"), [(1000, "pass"), (100, "fail")])
def test_requirements_of_a_link(do, node, speed, result):
    measured(node, link_mbps=speed)
    rows = [{"item": "net", "measure": "link", "minimum": text} for text in ("1 Gbit/s", "1GbE")]
    assert [row["result"] for row in do("requirements", rows=rows).values["rows"]] == [result, result]


ROWS = [
    {"item": "CPU cores", "measure": "cpus", "minimum": 16},
    {
        "item": "Docker",
        "measure": "program:docker",
        "minimum": "24",
        "applies": False,
        "otherwise": "not here",
    },
]


def test_requirements_return_a_table(do, node):
    measured(node)
    result = do("requirements", rows=ROWS)
    assert (result.status, result.values["unmet"]) == (Status.OK, ["CPU cores"])
    table = result.values["table"]
    assert table[0] == "Requirements: n1"
    assert table[3].split() == ["CPU", "cores", "16", "2", "fail"]
    assert table[4].endswith("not applicable (not here)")


def test_requirements_fail_only_when_enforced(do, node):
    measured(node)
    result = do("requirements", rows=ROWS, enforce=True)
    assert result.status is Status.FAILED
    assert "not met: CPU cores" in result.values["msg"]
    assert result.values["table"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"item": "x", "measure": "cpu", "minimum": 1}, "did you mean 'cpus'"),
        ({"item": "x", "mesure": "cpus"}, "did you mean 'measure'"),
        ({"item": "x", "measure": "cpus"}, "needs 'minimum'"),
        ({"item": "x", "measure": "memory", "minimum": "much"}, "not a size"),
        ({"measure": "cpus", "minimum": 1}, "needs 'item'"),
    ],
)
def test_requirements_with_a_bad_row(do, node, row, words):
    measured(node)
    assert words in do("requirements", rows=[row]).values["msg"]


def test_every_task_type_here_loads():
    for name in ("apt", "package", "service", "mount", "cgroup_check", "containerd", "nfs", "requirements"):
        task_type = REGISTRY.get(name)
        assert task_type.doc
        assert Path(task_type.path).name == f"{name}.py"
        assert all(parameter.doc for parameter in task_type.parameters.values())
