"""What a person reads: pages, pictures, the terminal's summary, the command and the task."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

from labctl import report
from labctl.cli.main import main
from labctl.report import formats
from labctl.report.charts import Bar, Bars, Forest, Paired, Panel, Row
from labctl.report.model import Model
from labctl.report.svg import Scale, Svg, ceiling, tick_texts, ticks
from labctl.task_types import Change, Context, Registry
from tests.unit.make_run import make_run

HERE = Path(__file__).parent
DASH, MINUS = formats.MISSING, formats.MINUS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture(scope="module")
def model(made: Path) -> Model:
    return report.reduce(made)


def pictures(html: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


# ------------------------------------------------------------ pages


def test_the_page_stands_alone_and_its_pictures_are_well_formed(model: Model) -> None:
    html = report.render(model, "html")
    assert "<script" not in html
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", html)
    found = pictures(html)
    assert len(found) == 3 + 9, "comparison, runs, phases and nine migrations over time"
    for picture in found:
        assert picture.attrib["role"] == "img"
        title = picture.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text


def test_no_text_of_a_picture_leaves_it_or_lies_on_another(model: Model) -> None:
    for picture in pictures(report.render(model, "html")):
        _, _, width, height = map(float, picture.attrib["viewBox"].split())
        boxes = []
        for text in picture.iter("{http://www.w3.org/2000/svg}text"):
            if "transform" in text.attrib:
                continue
            words, x, y = text.text or "", float(text.attrib["x"]), float(text.attrib["y"])
            long = len(words) * 12 * 0.5
            left = {"start": x, "middle": x - long / 2, "end": x - long}[text.attrib["text-anchor"]]
            assert left >= -1, words
            assert left + long <= width + 8, words
            assert 0 < y <= height, words
            boxes.append((left, y, left + long, words))
        for index, (left, y, right, words) in enumerate(boxes):
            for other_left, other_y, other_right, other in boxes[index + 1 :]:
                apart = abs(y - other_y) >= 9 or left >= other_right or other_left >= right
                assert apart, f"'{words}' lies on '{other}'"


def test_what_a_node_said_cannot_become_markup(made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made, tmp_path / "run"))
    evil = "<script>alert(1)</script>{{ 7*7 }}|`x`"
    for number, path in enumerate(sorted(run.glob("trials/*/trial.json"))):
        head = json.loads(path.read_text())
        head["phases"][0]["name"] = evil
        head["source"] = evil
        if number == 8:
            head["error"] = f"={evil}"
        path.write_text(json.dumps(head))
    for path in run.glob("trials/*/*.jsonl"):
        path.write_text(path.read_text().replace("model-monitor", "<script>alert(2)</script>"))
    model = report.reduce(run)
    html = report.render(model, "html")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "49" not in re.findall(r"alert\(1\)&lt;/script&gt;(\S*)", html)[0]
    assert pictures(html)
    assert "<script" not in report.render(model, "md")
    rows = list(csv.DictReader(io.StringIO(report.render(model, "csv"))))
    assert rows[8]["error"].startswith("'="), "a spreadsheet must not take it for a formula"


def test_the_csv_has_a_row_per_trial_with_the_figures_of_the_json(model: Model) -> None:
    rows = list(csv.DictReader(io.StringIO(report.render(model, "csv"))))
    data = json.loads(report.render(model, "json"))
    assert [int(row["trial"]) for row in rows] == [entry["trial"] for entry in data["trials"]]
    for row, entry in zip(rows, data["trials"], strict=True):
        for metric, value in entry["values"].items():
            assert float(row[metric]) == pytest.approx(value)


def test_the_markdown_tables_have_as_many_cells_in_every_row(model: Model) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", report.render(model, "md"), re.MULTILINE)
    assert len(blocks) >= 4
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line.rstrip())) for line in block.splitlines()}) == 1, block


def test_the_summary_fits_a_terminal_and_ends_with_the_verdicts(
    model: Model, made: Path, tmp_path: Path
) -> None:
    text = report.render(model, "summary")
    assert max(map(len, text.splitlines())) <= 100
    assert "PASS  optimized spends" in text
    assert report.summary(tmp_path) is None
    run = Path(shutil.copytree(made, tmp_path / "run"))
    report.write(model, run)
    assert report.summary(run) == text


# ------------------------------------------------------------ pictures


def test_an_interval_beyond_the_axis_ends_in_an_arrow() -> None:
    row = Row("metric", "live", -8.0, -25.0, 0.4, 3, "fail")
    (picture,) = pictures(Forest("f", "t", "c", (row,), 0.2).draw())
    points = [float(c.attrib["cx"]) for c in picture.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(points) == 1
    assert points[0] >= 300
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) == 1


def test_missing_values_leave_holes_not_zeros() -> None:
    panel = Panel(
        "Downtime",
        "s",
        ("native", "live"),
        {1: {"native": 1.0, "live": None}, 2: {"native": 0.5, "live": None}},
    )
    (picture,) = pictures(Paired("p", "t", "c", (panel,)).draw())
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 2
    assert "live (no value)" in [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_bars_of_many_phases_stay_within_the_picture() -> None:
    bars = Bars(
        "b",
        "t",
        "c",
        (Bar("native", "trial 1", tuple((f"a phase with a long name {i}", 1e-4) for i in range(30))),),
    )
    (picture,) = pictures(bars.draw())
    assert all(float(t.attrib["x"]) < 960 for t in picture.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.013), (-0.48, 1), (3, 4000), (-7.5, 12.2)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high, 6)
    assert 3 <= len(found) <= 13
    assert found[0] >= low - 1e-9
    assert found[-1] <= high + 1e-9
    assert len(set(tick_texts(found))) == len(found)
    assert ceiling(high) >= high


def test_a_scale_without_width_and_an_empty_range_are_no_division_by_zero() -> None:
    assert Scale(2, 2, 10, 20)(2) == 10
    assert ticks(5, 5) == [5]
    assert ceiling(0) == 1
    svg = Svg(10, 10, "<&>")
    svg.path([None, None], "x")
    assert ET.fromstring(svg.render())[0].text == "<&>"


# ------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", DASH),
        (float("nan"), "s", DASH),
        (0.0, "s", "0 s"),
        (0.0123, "s", "12.3 ms"),
        (0.99951, "s", "1.00 s"),
        (11.84, "s", "11.8 s"),
        (-11.84, "s", f"{MINUS}11.8 s"),
        (410_698, "B", "401 KiB"),
        (26 * 2**20, "B", "26 MiB"),
        (123456.0, "steps", "123\u202f456 steps"),
        (9.999, "CPU s", "10.0 CPU s"),
        (1e-9, "", "<0.000001"),
    ],
)
def test_quantities(value: float | None, unit: str, text: str) -> None:
    assert formats.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.284, "28 %"),
        (0.0512, "5.1 %"),
        (0.9994, "99.9 %"),
        (1.0, "100 %"),
        (-0.15, f"{MINUS}15 %"),
        (-0.0001, "0 %"),
        (None, DASH),
    ],
)
def test_percentages(share: float | None, text: str) -> None:
    assert formats.percent(share) == text.replace(" %", "\u202f%")


# ------------------------------------------------------------ command and task


def test_the_command_prints_and_writes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made, tmp_path / "runs" / "20260101-000000-x")
    (tmp_path / "runs" / "latest").symlink_to("20260101-000000-x")
    monkeypatch.chdir(tmp_path)
    assert main(["report", "latest", "--format", "json", "--no-write"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "migration"
    assert not list(tmp_path.glob("runs/*/report.*"))
    assert main(["report", "--target", "0.3"]) == 0
    assert "judged against 30" in capsys.readouterr().out
    assert len(list((tmp_path / "runs" / "20260101-000000-x").glob("report.*"))) == 4
    assert main(["report", "20260101-00000-x"]) == 5
    assert "did you mean '20260101-000000-x'?" in capsys.readouterr().err
    assert main(["report", "latest", "--target", "20"]) == 5
    assert "20 % is 0.2" in capsys.readouterr().err


def drive(run_dir: Path, *, check: bool) -> tuple[dict[str, Any], Sequence[Change]]:
    task = Registry().get("report")
    context = cast(Context, SimpleNamespace(run_dir=run_dir, check=check, progress=lambda *_: None))
    steps = task.run(task.bind({"target": 0.2}, lambda _: None), context)
    changes: list[Change] = []
    answer: Any = None
    try:
        while True:
            change = cast(Any, steps).send(answer)
            changes.append(change)
            answer = None if check else change.apply()
    except StopIteration as stop:
        return stop.value, changes


def test_the_task_writes_into_the_runs_folder_and_tells_the_headline(made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made, tmp_path / "run"))
    values, _ = drive(run, check=False)
    assert all(Path(path).exists() for path in values["paths"])
    assert values["headline"][0].startswith("optimized spends")
    assert values["verdicts"]["optimized"]["cpu_millicores_source"] == "pass"


def test_a_dry_run_of_the_task_says_what_it_would_write(tmp_path: Path) -> None:
    values, changes = drive(tmp_path, check=True)
    assert "report.html" in changes[0].what
    assert changes[0].unknown
    assert values["paths"]
    assert list(tmp_path.iterdir()) == []
