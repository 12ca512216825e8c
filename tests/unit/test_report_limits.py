"""The report of a notebook's limits. The journals are the made-up ones of make_limits_run.py, whose figures are known."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

from labctl import report
from labctl.errors import UsageError
from labctl.report.charts import Edge, Load, LoadPlot, Spot
from labctl.report.model import Claim, Model
from tests.unit.make_limits_run import make_run

HERE = Path(__file__).parent
SVG = "{http://www.w3.org/2000/svg}"
MIB = 2**20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture(scope="module")
def model(made: Path) -> Model:
    return report.reduce(made)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def search(model: Model, resource: str) -> dict[str, Any]:
    return cast(dict[str, Any], model.data["searches"][f"worker1-{resource}"])


def edit(run: Path, resource: str, change: Callable[[dict[str, Any]], object]) -> None:
    """`change` every line of a journal; a line for which it returns False goes."""
    path = run / "limits" / f"worker1-{resource}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [line for line in lines if change(line) is not False]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))


def claim(model: Model, words: str) -> Claim:
    return next(claim for claim in model.claims if words in claim.text)


def pictures(html: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


# ------------------------------------------------------------ known answers


def test_the_figures_are_those_the_journals_were_made_with(model: Model) -> None:
    memory, disk, cpu = (search(model, name) for name in ("memory", "disk", "cpu"))
    assert [one["first_bad"] // MIB for one in memory["repetitions"]] == [452, 448, 452]
    assert [one["last_good"] // MIB for one in memory["repetitions"]] == [448, 444, 448]
    assert (memory["last_good"], memory["first_bad"], memory["cause"]) == (444 * MIB, 448 * MIB, "oom")
    assert memory["share_of_limit"] == pytest.approx((448 + 60 - 2) / 512), "less the page cache"
    assert memory["spread"]["share"] == pytest.approx(4 / 448)
    assert memory["recommended"] == 355 * MIB
    assert (disk["last_good"], disk["first_bad"], disk["cause"]) == (254 * MIB, 256 * MIB, "enospc")
    assert disk["spread"] == {"n": 3, "median": 254 * MIB, "low": 254 * MIB, "high": 254 * MIB, "share": 0}
    assert (cpu["knee"], cpu["cause"], cpu["recommended"], cpu["first_bad"]) == (1, "throttle", 1, None)
    assert model.data["verdicts"] == {"worker1-cpu": "pass", "worker1-memory": "pass", "worker1-disk": "pass"}


def recomputed(run: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HERE / "recompute_limits.py", run], capture_output=True, text=True, check=False
    )


def test_every_figure_is_made_again_from_the_raw_files(run: Path) -> None:
    edit(
        run, "memory", lambda line: not (line["event"] == "end" and line["step"] == 3)
    )  # steps that never ended
    report.write(report.reduce(run), run)
    done = recomputed(run)
    assert (done.returncode, done.stdout) == (0, "3 searches with 83 steps: all agree\n")
    path = run / "report.json"
    path.write_text(path.read_text().replace(f'"last_good": {444 * MIB}', f'"last_good": {445 * MIB}', 1))
    done = recomputed(run)
    assert done.returncode == 1
    assert "worker1-memory.last_good" in done.stdout


def test_what_the_kind_of_a_folder_is_found_out(made: Path, model: Model) -> None:
    assert model.kind == "notebook_limits"
    assert report.reduce(made, kind="notebook_limits").data == model.data


# ------------------------------------------------------------ claims, verdicts and doubts


def test_claims_of_a_run_that_keeps_its_promises(model: Model) -> None:
    assert [one.holds for one in model.claims] == [True] * len(model.claims)
    assert len(model.claims) == 7
    assert claim(model, "other containers live on").evidence.endswith("notebook.client and other.web.")
    assert "11 deaths, noticed after 11 to 13.0 ms" in claim(model, "noticed").evidence


def test_a_limit_that_is_not_honoured_fails(run: Path) -> None:
    def leak(line: dict[str, Any]) -> None:
        if line["event"] == "end":
            line["record"]["memory"]["anon"] *= 0.9

    edit(run, "memory", leak)
    model = report.reduce(run)
    assert model.data["verdicts"]["worker1-memory"] == "fail"
    assert claim(model, "Memory: the boundary lies").holds is False


def test_repetitions_that_differ_fail(run: Path) -> None:
    def early(line: dict[str, Any]) -> None:
        if line["event"] == "end" and line["repetition"] == 2 and line["record"]["requested"] > 192 * MIB:
            line["record"] |= {
                "survived": False,
                "death": {"what": "kernel", "cause": "oom", "detected_after_s": 0.1},
            }

    edit(run, "disk", early)
    model = report.reduce(run)
    assert model.data["verdicts"]["worker1-disk"] == "fail"
    assert claim(model, "Disk: the repetitions agree").holds is False
    assert search(model, "disk")["last_good"] == 192 * MIB


def test_a_death_noticed_late_or_never_named_is_told(run: Path) -> None:
    def late(line: dict[str, Any]) -> None:
        if line["event"] == "end" and line["record"]["death"]:
            line["record"]["death"]["detected_after_s"] = 1.4

    edit(run, "memory", late)
    assert claim(report.reduce(run), "noticed within").holds is False


def test_a_neighbour_that_is_gone_or_another_is_told(run: Path) -> None:
    def die(line: dict[str, Any]) -> None:
        if line["event"] == "neighbours" and line["when"] == "after":
            line["containers"]["other.web"] = 301

    edit(run, "memory", die)
    found = claim(report.reduce(run), "live on")
    assert (found.holds, found.evidence) == (False, "Not the same afterwards: other.web.")
    edit(run, "memory", lambda line: line["event"] != "neighbours")
    assert claim(report.reduce(run), "live on").holds is None


def test_a_search_that_was_capped_shows_no_boundary(run: Path) -> None:
    def cap(line: dict[str, Any]) -> bool:
        asked = line.get("requested") or (line.get("record") or {}).get("requested") or 0
        return asked <= 256 * MIB

    edit(run, "memory", cap)
    with (run / "limits" / "worker1-memory.jsonl").open("a") as stream:
        for number in (1, 2, 3):
            note = {
                "event": "ceiling",
                "repetition": number,
                "amount": 256 * MIB,
                "why": "the node has only 600 MiB",
            }
            stream.write(json.dumps(note) + "\n")
    model = report.reduce(run)
    assert model.data["verdicts"]["worker1-memory"] == "not shown"
    text = next(finding for finding in model.findings if finding.text.startswith("Memory"))
    assert "held 256 MiB; no boundary" in text.text
    assert text.detail == "The node has only 600 MiB."
    assert any("stopped early, the node has only 600 MiB" in limit for limit in model.limits)
    assert report.render(model, "html")


def test_what_somebody_else_ended_is_said_and_is_no_boundary(run: Path) -> None:
    seen: list[int] = []

    def kill(line: dict[str, Any]) -> None:
        if line["event"] == "end" and line["record"]["requested"] == 128 * MIB and not seen:
            seen.append(1)
            line["record"] |= {
                "survived": False,
                "death": {"what": "kernel", "cause": "killed", "detected_after_s": 0.1},
            }

    edit(run, "memory", kill)
    model = report.reduce(run)
    assert search(model, "memory")["last_good"] == 444 * MIB
    assert any("Memory: 1 step ended from outside (killed)" in limit for limit in model.limits)


def test_what_was_not_measured_is_none_with_its_reason(run: Path) -> None:
    def bare(line: dict[str, Any]) -> None:
        if line["event"] == "end":
            line["record"] |= {
                "pct_of_limit": None,
                "memory": {},
                "throughput": None,
                "throttled_pct": None,
                "responsiveness_ms": {},
            }

    for resource in ("cpu", "memory", "disk"):
        edit(run, resource, bare)
    model = report.reduce(run)
    assert search(model, "memory")["share_of_limit"] is None
    assert search(model, "cpu")["knee"] is None
    assert set(model.data["verdicts"].values()) == {"not shown"}
    assert any("Pressure (PSI) has no value: this kernel has no PSI" in limit for limit in model.limits)
    assert "NaN" not in report.render(model, "json")
    assert pictures(report.render(model, "html"))


def test_on_a_crowded_machine_no_knee_is_made_up(run: Path) -> None:
    def crowd(line: dict[str, Any]) -> None:
        if line["event"] == "end" and line["repetition"] == 2 and line["record"]["requested"] == 1:
            line["record"] |= {"usage": 0.4, "pct_of_limit": 40.0, "throughput": 80.0}

    edit(run, "cpu", crowd)
    report.write(report.reduce(run), run)
    model = report.reduce(run)
    assert [one["knee"] for one in search(model, "cpu")["repetitions"]] == [1, None, 1]
    assert model.data["verdicts"]["worker1-cpu"] == "not shown"
    assert any(limit.startswith("CPU: in 1 of 12 steps others used the processors") for limit in model.limits)
    assert recomputed(run).returncode == 0
    picture = report.render(model, "html")
    assert picture.count("dot noisy s1") == 1
    assert "held, others used the processors" in picture


def test_a_damaged_journal_is_read_as_far_as_it_goes(run: Path) -> None:
    path = run / "limits" / "worker1-disk.jsonl"
    whole = path.read_text()
    for end in range(997, len(whole), 997):
        path.write_text(whole[:end])
        model = report.reduce(run)
        assert report.render(model, "html")
        assert report.render(model, "summary")


def test_a_search_that_never_began_is_left_out(run: Path) -> None:
    (run / "limits" / "worker1-disk.jsonl").write_text("")
    assert set(report.reduce(run).data["searches"]) == {"worker1-cpu", "worker1-memory"}
    for path in (run / "limits").iterdir():
        path.write_text("")
    with pytest.raises(UsageError, match="there is no search for a limit"):
        report.reduce(run)


def test_searches_on_several_nodes_are_told_apart(run: Path) -> None:
    text = (run / "limits" / "worker1-memory.jsonl").read_text()
    (run / "limits" / "worker2-memory.jsonl").write_text(text.replace('"worker1"', '"worker2"'))
    model = report.reduce(run)
    assert [f.text.split(":")[0] for f in model.findings] == [
        "CPU",
        "Memory on worker1",
        "Memory on worker2",
        "Disk",
    ]
    assert len({figure.name for section in model.sections for figure in section.figures}) == 5


# ------------------------------------------------------------ pages


def test_the_page_stands_alone_and_its_pictures_are_well_formed(model: Model) -> None:
    html = report.render(model, "html")
    assert "<script" not in html
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", html)
    found = pictures(html)
    assert len(found) == 1 + 2 * 3, "the gauges, and two figures for each resource"
    for picture in found:
        title = picture.find(f"{SVG}title")
        assert title is not None
        assert title.text


def test_no_text_of_a_picture_leaves_it_or_lies_on_another(model: Model) -> None:
    for picture in pictures(report.render(model, "html")):
        _, _, width, height = map(float, picture.attrib["viewBox"].split())
        boxes: list[tuple[float, float, float, str]] = []
        for text in picture.iter(f"{SVG}text"):
            if "transform" in text.attrib:
                continue
            words, x, y = text.text or "", float(text.attrib["x"]), float(text.attrib["y"])
            long = len(words) * 12 * 0.5
            left = {"start": x, "middle": x - long / 2, "end": x - long}[text.attrib["text-anchor"]]
            assert left >= -1, words
            assert left + long <= width + 8, words
            assert 0 < y <= height, words
            for other_left, other_y, other_right, other in boxes:
                apart = abs(y - other_y) >= 9 or left >= other_right or other_left >= left + long
                assert apart, f"'{words}' lies on '{other}'"
            boxes.append((left, y, left + long, words))


def test_the_point_of_death_is_marked_through_all_plots(model: Model) -> None:
    memory = pictures(report.render(model, "html"))[3]
    edges = [line for line in memory.iter(f"{SVG}line") if "edge-bad" in line.attrib["class"]]
    crosses = [path for path in memory.iter(f"{SVG}path") if path.attrib["class"] == "cross"]
    texts = [text.text for text in memory.iter(f"{SVG}text")]
    assert len(edges) == 1
    assert "oom at 448 MiB" in texts
    assert "recommended up to 355 MiB" in texts
    assert len(crosses) == 3 * 11 + 1, "eleven deaths in three plots, and the legend"
    cpu = pictures(report.render(model, "html"))[1]
    assert "knee: 1 process, throttle" in [text.text for text in cpu.iter(f"{SVG}text")]


def test_a_load_nobody_survived_is_drawn_too() -> None:
    spots = (Spot(1.0, 3.0, False, "x"), Spot(2.0, None, True, "y"))
    plot = LoadPlot("in use", "%", spots, 1, reference=(100.0, "limit"))
    for whole in (True, False):
        figure = Load("n", "t", "c", "amount", (plot,), (Edge(2.0, "a long text " * 20, "bad", True),), whole)
        assert pictures(figure.draw())
    assert pictures(Load("n", "t", "c", "amount", ()).draw())


def test_what_a_node_said_cannot_become_markup(run: Path) -> None:
    evil = "<script>alert(1)</script>|`x`"

    def change(line: dict[str, Any]) -> None:
        if line["event"] == "search":
            line |= {"host": evil, "pod": evil, "profile": evil}
        if line["event"] == "end" and line["record"]["death"]:
            line["record"]["death"]["cause"] = evil

    edit(run, "memory", change)
    shutil.copy(run / "limits" / "worker1-memory.jsonl", run / "limits" / "other.jsonl")
    model = report.reduce(run)
    html = report.render(model, "html")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert pictures(html)
    assert "<script" not in report.render(model, "md")


def test_the_csv_has_a_row_per_step_with_the_figures_of_the_json(model: Model) -> None:
    rows = list(csv.DictReader(io.StringIO(report.render(model, "csv"))))
    data = json.loads(report.render(model, "json"))
    steps = [step for one in data["searches"].values() for step in one["steps"]]
    assert [int(row["requested"]) for row in rows] == [step["requested"] for step in steps]
    assert [row["cause"] or None for row in rows] == [step["cause"] for step in steps]
    dead = [row for row in rows if row["died"]]
    assert {(row["died"], row["signal"], row["oom_kill"]) for row in dead} == {("kernel", "9", "1")}


def test_the_markdown_tables_have_as_many_cells_in_every_row(model: Model) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", report.render(model, "md"), re.MULTILINE)
    assert len(blocks) >= 5
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line.rstrip())) for line in block.splitlines()}) == 1, block


def test_the_summary_fits_a_terminal(model: Model) -> None:
    text = report.render(model, "summary")
    assert max(map(len, text.splitlines())) <= 100
    assert "PASS  Memory: limited to 512 MiB" in text


def test_how_processes_share_the_processors(model: Model) -> None:
    steps = search(model, "cpu")["steps"]
    assert [step["slowdown_vs_1"] for step in steps[:2]] == [1, pytest.approx(2 * 201 / 204)]
    assert all(step["evenness"] == 1 for step in steps)
    assert all(step["slowdown_vs_1"] is None for step in search(model, "memory")["steps"])
