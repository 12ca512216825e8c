"""The benchmarks' arithmetic, and that what they run can be run. Nothing here measures a time."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import bars, figure, imports, main, ready, table, workload
from benchmarks.fleet import CannotBenchmark, Fleet, Host
from benchmarks.measure import Command, Measured, run
from benchmarks.peers import Peers, forks, write_inventories
from benchmarks.statistics import Results, Spread
from benchmarks.workload import Scene, WrongWork, discover
from benchmarks.workloads import c_templates, e_transfer
from labctl.cli.main import main as labctl

WORKLOADS = discover()


def measured(wall=1.0, cpu=1.0, memory=50_000_000, output=""):
    return Measured(rc=0, wall=wall, user=cpu, system=0.0, rss=memory, memory=memory, left=0, output=output)


def results(**walls):
    """`a10__labctl=[…]`: the walls of each workload and tool."""
    made = Results({}, {})
    for key, values in walls.items():
        name, _, tool = key.partition("__")
        for wall in values:
            made.add(name.replace("_", "-"), tool.replace("_", ":"), measured(wall))
    return made


def scene(folder, count=2):
    hosts = tuple(
        Host(f"h{n:03}", f"127.77.0.{n}", 2200, folder / "homes" / f"h{n:03}") for n in range(1, count + 1)
    )
    fleet = Fleet(hosts, "root", folder / "key", folder / "known_hosts")
    return Scene(folder, hosts, fleet, Peers(folder, {}), folder)


def verdict(made, text):
    return next(each for each in bars.verdicts(made) if f"{each.bar.workload}: {each.bar.text}" == text)


def test_a_spread_is_the_median_and_the_ends():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert Spread.of([]) is None


def test_a_ratio_of_medians_has_the_widest_ends_the_rounds_allow():
    ratio = results(a10__labctl=[1.0, 2.0, 4.0], a10__ansible=[60.0, 80.0]).ratio("a10", "ansible")
    assert ratio == Spread(35.0, 15.0, 80.0, 2)


def test_a_bar_passes_fails_or_was_not_measured():
    made = results(a10__labctl=[1.0], a10__ansible=[30.0], a10__mitogen=[7.9])
    assert verdict(made, "a10: faster than ansible").word == "pass"
    assert verdict(made, "a10: faster than mitogen").word == "FAIL"
    assert verdict(made, "a10: faster than pyinfra").word == "not measured"


def test_the_floor_is_compared_after_the_first_task():
    made = results(a10__labctl=[1.0], a10__labctl_first=[0.6], a10__shell=[0.5], a10__shell_first=[0.3])
    assert verdict(
        made, "a10: as long as a persistent shell, both after the first task"
    ).value == pytest.approx(2.0)


def test_round_trips_come_from_the_delay_alone():
    walls = {"a10__labctl": [1.0], "a10__labctl_first": [0.5], "g__labctl": [2.17], "g__labctl_first": [0.8]}
    made = results(**walls)
    assert verdict(made, "g: round trips a task, connecting included").value == pytest.approx(1.3)
    assert verdict(made, "g: round trips a task, after the first").value == pytest.approx(1.0)


def test_more_work_in_less_time_is_no_measurement():
    made = results(a10__labctl=[2.0], g__labctl=[1.5])
    assert verdict(made, "g: round trips a task, connecting included").word == "not measured"


def test_memory_is_that_of_each_host_more():
    made = Results({}, {})
    made.add("a10", "labctl", measured(memory=50_000_000))
    made.add("a200", "labctl", measured(memory=50_000_000 + 190 * 1_500_000))
    assert verdict(made, "a200: memory for each host more than 10").value == pytest.approx(1.5)


def test_a_task_and_host_of_the_engine_is_in_microseconds():
    found = verdict(results(f__labctl=[2.0]), "f: a task and host")
    assert found.value == pytest.approx(80.0)
    assert found.passed


def test_every_bar_is_of_a_workload_there_is():
    assert {bar.workload for bar in bars.BARS} <= WORKLOADS.keys()


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")]
)
def test_numbers_have_three_digits(value, text):
    assert table.number(value) == text


def test_the_page_has_the_table_the_verdicts_and_what_failed():
    made = results(a10__labctl=[1.0, 1.2], a10__ansible=[33.0])
    made.fail("a10", "pyinfra", "h001 has 3 lines")
    machine = {
        "processors": 2,
        "model": "some",
        "memory_gib": 8,
        "kernel": "6",
        "load_before": 0,
        "load_after": 1,
    }
    about = {
        "started": "then",
        "versions": {"labctl": "1"},
        "machine": machine,
        "not_run": ["g, since no root"],
        "round_trip": 0.0304,
    }
    said = table.page(made, {"a10": WORKLOADS["a10"]}, {**about, "imports": {"help": [("re", 3.0)]}})
    assert "| a10      | faster than ansible" in said
    assert "FAILED: a10 with pyinfra: h001 has 3 lines." in said
    assert "round trip: 30.4 ms" in said
    assert "Not run: g, since no root." in said
    assert "30.0 (27.5\N{EN DASH}33.0)" not in said  # one round of a peer has no spread
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert all(line.count("|") == rows[0].count("|") for line in rows[:2])


def test_the_figure_is_one_svg_with_a_bar_for_each_peer():
    made = results(a10__labctl=[1.0], a10__ansible=[30.0, 40.0], a10__mitogen=[8.0])
    drawn = figure.draw(made, {"a10": WORKLOADS["a10"]})
    assert drawn.startswith("<svg ")
    assert drawn.count('class="ansible"') == drawn.count('class="mitogen"') == 1
    assert "35.0\N{MULTIPLICATION SIGN} ansible" in drawn


def test_imports_are_summed_by_package():
    text = "import time:      1500 |       2000 | yaml\nimport time:       500 |        500 |   yaml.nodes\n"
    assert imports.summed(text + "import time:       100 |        100 | re\n") == [("yaml", 2.0), ("re", 0.1)]


def test_names_may_be_shortened_to_their_letter():
    names = list(WORKLOADS)
    assert main._words(names, "workload", "a,f") == ["a1", "a10", "a50", "a200", "f"]
    assert main._words(names, "workload", "h,a10") == ["a10", "h-help", "h-play"]
    with pytest.raises(CannotBenchmark, match="there is no workload 'x'; there are a1"):
        main._words(names, "workload", "x")


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_playbook_passes_the_syntax_check(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(e_transfer, "SIZE", 1 << 20)
    monkeypatch.chdir(tmp_path)
    made = scene(tmp_path)
    write_inventories(tmp_path, made.fleet, made.hosts)
    WORKLOADS[name].write(tmp_path)
    for playbook in tmp_path.glob("*.yml"):
        assert labctl(["run", "--syntax-check", playbook.name, "-i", "inventory"]) == 0, (
            capsys.readouterr().err
        )
    for deploy in tmp_path.glob("*.py"):
        compile(deploy.read_text(), deploy.name, "exec")


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_tool_of_a_workload_has_a_command(name, tmp_path):
    (tmp_path / "lib/python3/site-packages/ansible_mitogen/plugins/strategy").mkdir(parents=True)
    for tool in WORKLOADS[name].tools:
        assert WORKLOADS[name].command(scene(tmp_path), tool).argv
        assert WORKLOADS[name].rounds(tool, 5) in range(1, 6)


@pytest.mark.parametrize("name", WORKLOADS)
def test_work_that_was_not_done_is_found(name, tmp_path, monkeypatch):
    monkeypatch.setattr(e_transfer, "SIZE", 1 << 20)
    made = scene(tmp_path)
    chosen = WORKLOADS[name]
    chosen.write(tmp_path)
    chosen.reset(made)
    for host in made.hosts:
        (made.work / host.name / "part-7").unlink(missing_ok=True)
    with pytest.raises(WrongWork):
        chosen.check(made, "labctl", measured())


def test_a_file_written_again_is_not_no_change(tmp_path):
    made = scene(tmp_path)
    chosen = c_templates.Templates("c2", again=True)
    chosen.write(tmp_path)
    chosen.reset(made)
    chosen.check(made, "labctl", measured())
    path = made.work / "h001" / "part-1"
    text = path.read_text()
    path.unlink()
    path.write_text(text)
    with pytest.raises(WrongWork, match="h001 had its part-1 written again"):
        chosen.check(made, "labctl", measured())


def test_lines_are_counted_in_order(tmp_path):
    made = scene(tmp_path, 1)
    (tmp_path / "work/h001").mkdir(parents=True)
    (tmp_path / "work/h001/lines").write_text("1\n2\n")
    workload.counted(made, "lines", ["1", "2"])
    with pytest.raises(WrongWork, match="h001 has 2 lines in lines, not the 3 expected ones"):
        workload.counted(made, "lines", ["1", "2", "3"])


def test_a_failed_run_says_its_most_telling_line():
    assert main._reason("PLAY\nfatal: [h001]: UNREACHABLE!\nRECAP\n") == "fatal: [h001]: UNREACHABLE!"
    assert main._reason("one\ntwo\n") == "two"
    assert main._reason("\n") == "it said nothing"


def test_all_tools_get_the_same_forks():
    assert [forks(hosts) for hosts in (1, 10, 50, 200)] == [1, 10, 50, 50]


def test_what_a_command_leaves_behind_is_ended_and_counted(tmp_path):
    script = "sleep 1000 & sleep 1000 & echo here; exit 3"
    found = run(Command(["sh", "-c", script]), tmp_path, tmp_path, timeout=60)
    assert (found.rc, found.left, found.output) == (3, 2, "here\n")
    assert found.rss > 0
    assert found.memory >= found.rss


def test_results_are_written_as_json(tmp_path):
    made = results(a10__labctl=[1.0], a10__ansible=[40.0])
    machine = {
        "processors": 2,
        "model": "some",
        "memory_gib": 8,
        "kernel": "6",
        "load_before": 0,
        "load_after": 1,
    }
    about = {
        "started": "then",
        "versions": {},
        "machine": machine,
        "not_run": [],
        "round_trip": None,
        "imports": {},
    }
    main._write(tmp_path / "out", made, {"a10": WORKLOADS["a10"]}, about)
    data = json.loads(Path(tmp_path, "out/results.json").read_text())
    assert data["runs"]["a10"]["ansible"][0]["wall"] == 40.0
    assert data["bars"][0] == {
        "workload": "a10", "bar": "faster than ansible", "side": ">=", "limit": 30, "unit": bars.TIMES,
        "value": 40.0, "verdict": "pass",
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ratios.svg",
        "results.json",
        "results.md",
    ]


def test_before_each_run_what_the_tools_load_is_read_and_nothing_else(tmp_path):
    for name in ("lib/a.pyc", "lib/b.so", "lib/c.txt", "lib/tests/d.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [str(path) for path in ready.loaded_by_all(tmp_path)]
    assert {name for name in found if name.startswith(str(tmp_path))} == {
        f"{tmp_path}/lib/a.pyc",
        f"{tmp_path}/lib/b.so",
    }
    assert sys.executable in found
