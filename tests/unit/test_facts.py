"""The facts of this machine, and the `setup` task over them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.errors import PlaybookError
from labctl.node.functions import facts as functions
from labctl.node.functions import facts_distribution, facts_local, facts_lsb, facts_text
from labctl.paths import builtin
from labctl.task_types import Registry, load

SETUP = load(builtin("tasks") / "setup.py")
EVERYTHING = (*SETUP.run.__globals__["MINIMAL"], *SETUP.run.__globals__["FURTHER"])


def facts(*subsets: str, **environment: str) -> dict[str, Any]:
    return functions.gather(list(subsets or EVERYTHING), environment)["facts"]


def test_facts_are_this_machines() -> None:
    known = facts()
    uname = os.uname()
    assert (known["kernel"], known["nodename"], known["architecture"]) == (
        uname.release,
        uname.nodename,
        uname.machine,
    )
    assert known["processor_nproc"] == len(os.sched_getaffinity(0))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    assert known["memtotal_mb"] == pytest.approx(pages, abs=1)
    size = os.statvfs("/")
    for root in (mount for mount in known["mounts"] if mount["mount"] == "/"):
        assert root["size_total"] == size.f_blocks * size.f_frsize
    assert known["user_uid"] == os.getuid()
    assert known["lo"]["ipv4"]["address"] == "127.0.0.1"
    assert "127.0.0.1" not in known["all_ipv4_addresses"]
    assert known["cgroup"]["version"] in (1, 2, "hybrid")


def test_what_is_not_there_is_null_with_a_reason() -> None:
    told = functions.gather(["runtime"], {})
    for program in ("containerd", "runc", "criu"):
        name = f"{program}_version"
        assert (told["facts"][name] is None) == (name in told["missing"])


def test_a_subset_gathers_only_its_facts() -> None:
    known = facts("platform")
    assert "kernel" in known
    assert "memtotal_mb" not in known
    assert "cgroup" not in known


def test_the_environment_shows_no_secret() -> None:
    known = facts("env", LABCTL_TEST_TOKEN="hunter2", LABCTL_TEST="seen")["env"]
    assert known["LABCTL_TEST"] == "seen"
    assert "hunter2" not in json.dumps(known)


RELEASES = {
    "rocky": (
        'NAME="Rocky Linux"\nVERSION="9.3 (Blue Onyx)"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.3"\n',
        ("Rocky", "9.3", "9", "Blue Onyx", "RedHat"),
    ),
    "ubuntu": (
        'NAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n',
        ("Ubuntu", "24.04", "24", "noble", "Debian"),
    ),
    "leap": (
        'NAME="openSUSE Leap"\nVERSION="15.6"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n',
        ("openSUSE Leap", "15.6", "15", "6", "Suse"),
    ),
    "fedora": (
        'NAME="Fedora Linux"\nVERSION="40 (Server Edition)"\nID=fedora\nVERSION_ID=40\nVERSION_CODENAME=""\n',
        ("Fedora", "40", "40", "", "RedHat"),
    ),
    "pop": (
        'NAME="Pop!_OS"\nID=pop\nID_LIKE="ubuntu debian"\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n',
        ("Pop!_OS", "22.04", "22", "jammy", "Debian"),
    ),
    "unheard": ("NAME=Odd\nID=odd\nID_LIKE=debian\nVERSION_ID=1\n", ("Odd", "1", "1", "NA", "Debian")),
}


@pytest.mark.parametrize("name", RELEASES)
def test_distributions_have_ansibles_names(name: str, tmp_path: Path) -> None:
    release, expected = RELEASES[name]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(release)
    known = facts_distribution.distribution(str(tmp_path))
    fields = (
        "distribution",
        "distribution_version",
        "distribution_major_version",
        "distribution_release",
        "os_family",
    )
    assert tuple(known[field] for field in fields) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="installing lsb-release needs root")
@pytest.mark.parametrize("name", RELEASES)
def test_what_lsb_release_says_is_known_without_it(name: str, tmp_path: Path) -> None:
    if not facts_lsb.repeats_os_release():
        pytest.skip("the lsb_release of this distribution is not Debian's script")
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc/os-release"
    file.write_text(RELEASES[name][0])
    said = subprocess.run(
        ["lsb_release", "-a"],
        env={"PATH": "/usr/bin:/bin", "LSB_OS_RELEASE": str(file)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    values = dict(line.split(":\t", 1) for line in said.splitlines())
    assert list(facts_lsb.of_os_release(str(tmp_path)).values()) == list(values.values())


def test_own_facts_are_run_or_read(tmp_path: Path) -> None:
    (tmp_path / "ini.fact").write_text("[General]\nAsdf=1\n")
    (tmp_path / "json.fact").write_text('{"a": [1]}')
    (tmp_path / "odd.fact").write_text("neither")
    for name, script in (("run", "echo '{\"pid\": 1}'"), ("bad", "exit 3")):
        path = tmp_path / f"{name}.fact"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    warnings: list[str] = []
    known = facts_local.local(str(tmp_path), 5.0, warnings)["local"]
    assert known["ini"] == {"General": {"asdf": "1"}}
    assert (known["json"], known["run"]) == ({"a": [1]}, {"pid": 1})
    assert "rc: 3" in known["bad"]
    assert "JSON or ini" in known["odd"]
    assert len(warnings) == 2


class LocalNode:
    """Calls functions on this machine, as a node would."""

    host = "here"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def clock_offset(self, error: float, meanwhile: Callable[[], None]) -> float:
        assert error == 0.005
        meanwhile()
        return 0.5

    def call(self, module: str, function: str, **arguments: Any) -> Any:
        assert (module, function) == ("facts", "gather")
        self.asked.append(arguments["subsets"])
        return functions.gather(**arguments)


@pytest.fixture
def ctx(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(
        host="here",
        node=LocalNode(),
        run_dir=tmp_path,
        shared={},
        mark=None,
        environment={},
        warn=lambda _: None,
    )


def setup(ctx: SimpleNamespace, **arguments: Any) -> dict[str, Any]:
    task = Registry().get("setup")
    return task.run(task.bind(arguments, lambda _: None), ctx)["ansible_facts"]


def test_setup_returns_facts_and_the_clock_offset_and_writes_them_down(ctx: SimpleNamespace) -> None:
    known = setup(ctx)
    assert known["ansible_kernel"] == os.uname().release
    assert known["ansible_clock_offset"] == 0.5
    assert (known["gather_subset"], known["module_setup"]) == (["all"], True)
    written = json.loads((ctx.run_dir / "facts/here.json").read_text())
    assert (written["kernel"], written["clock_offset"]) == (os.uname().release, 0.5)


def test_what_is_written_down_is_all_that_was_gathered(ctx: SimpleNamespace) -> None:
    setup(ctx, gather_subset=["!all", "!min", "loadavg"])
    setup(ctx, gather_subset=["!all", "!min", "fips"])
    assert json.loads((ctx.run_dir / "facts/here.json").read_text()).keys() == {"loadavg", "fips"}


MINIMAL = set(SETUP.run.__globals__["MINIMAL"])


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["all"], set(EVERYTHING)),
        (["all", "!hardware"], set(EVERYTHING) - {"hardware"}),
        (["!hardware"], MINIMAL),
        (["!all"], MINIMAL),
        (["!all", "network"], MINIMAL | {"network"}),
        (["!all", "!min", "distribution"], {"distribution"}),
        (["all", "!min", "!network"], set(EVERYTHING) - MINIMAL - {"network"}),
        (["virtual"], MINIMAL | {"virtual"}),
        (["!all", "!min", "default_ipv4"], {"network"}),
    ],
)
def test_subsets_follow_ansibles_rules(ctx: SimpleNamespace, names: list[str], wanted: set[str]) -> None:
    setup(ctx, gather_subset=names)
    assert set(ctx.node.asked[0]) == wanted


def test_an_unknown_subset_is_refused_with_the_nearest_name(ctx: SimpleNamespace) -> None:
    with pytest.raises(PlaybookError) as caught:
        setup(ctx, gather_subset=["netwrok"])
    assert caught.value.hint == "did you mean 'network'?"


def test_filter_takes_names_with_and_without_prefix(ctx: SimpleNamespace) -> None:
    assert setup(ctx, filter=["ansible_kernel", "os_*"]).keys() == {"ansible_kernel", "ansible_os_family"}


def test_programs_answer_together_or_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in {
        "long": "#!/bin/sh\ni=0; while [ $i -lt 3000 ]; do echo 'a line of some length, and an ü'; i=$((i+1)); done; exit 3",
        "closed": "#!/bin/sh\necho said; exec >&- 2>&-; sleep 0.2; exit 2",
        "dead": "#!/bin/sh\nkill -9 $$",
        "slow": f"#!/bin/sh\necho $$ > {tmp_path}/pid; exec sleep 60",
        "odd": "\0\0no program",
    }.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(facts_text, "PLACES", (str(tmp_path),))
    programs = facts_text.Programs(2.0)
    for name in ("long", "closed", "dead", "slow", "odd", "none"):
        programs.start(name, [name])
    assert programs.said("long") == (3, "a line of some length, and an ü\n" * 3000)
    assert programs.said("closed") == (2, "said\n")
    assert programs.said("dead") == (-9, "")
    assert [programs.said(name) for name in ("slow", "odd", "none")] == [None, None, None]
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    programs.start("slow", ["slow"])
    programs.close()
    assert programs.said("slow") is None


ETHTOOL = """Time stamping parameters for eth0:
Capabilities:
\thardware-transmit     (SOF_TIMESTAMPING_TX_HARDWARE)
\tsoftware-receive      (SOF_TIMESTAMPING_RX_SOFTWARE)
PTP Hardware Clock: 12
Hardware Transmit Timestamp Modes: none
Hardware Receive Filter Modes:
\tall                   (HWTSTAMP_FILTER_ALL)
"""


def test_what_ethtool_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "T").write_text(ETHTOOL)
    (tmp_path / "k").write_text("Features for eth0:\nrx-checksumming: on [fixed]\n\ttx-checksum-ipv4: off\n")
    (tmp_path / "ethtool").write_text(f"#!/bin/sh\ncat {tmp_path}/${{1#-}}\n")
    (tmp_path / "ethtool").chmod(0o755)
    monkeypatch.setattr(facts_text, "PLACES", (str(tmp_path),))
    known = facts("network")["lo"]
    assert known["features"] == {"rx_checksumming": "on [fixed]", "tx_checksum_ipv4": "off"}
    assert known["timestamping"] == ["tx_hardware", "rx_software"]
    assert (known["hw_timestamp_filters"], known["phc_index"]) == (["all"], 12)


def test_agent_and_facts_import_nothing_that_takes_long() -> None:
    """Imports were most of what an agent and its facts cost a node."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import labctl.node.agent, labctl.node.functions.facts;"
        "print(*sys.modules)"
    )
    root = Path(functions.__file__).parents[3]
    argv = [sys.executable, "-I", "-S", "-E", "-X", "utf8", "-c", program, str(root)]
    loaded = set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())
    assert "labctl.node.functions.facts_network" in loaded
    slow = {
        "re",
        "json",
        "enum",
        "typing",
        "threading",
        "signal",
        "subprocess",
        "socket",
        "datetime",
        "functools",
    }
    assert not loaded & slow
