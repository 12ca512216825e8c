"""`labctl runs merge`: four shards joined are the run that was not divided."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import yaml

from labctl.cli.main import main
from labctl.engine.merge import exit_code

make_run = runpy.run_path(str(Path(__file__).with_name("make_run.py")))["make_run"]
BOOK = """\
- name: here
  hosts: localhost
  gather_facts: false
  tasks:
    - set_stats: {data: {hosts: 1}}
- name: everywhere
  hosts: all
  gather_facts: false
  tasks:
    - setup: {gather_subset: ['!all', '!min', pkg_mgr]}
    - name: speak
      command: echo {{ inventory_hostname }}
      register: said
    - name: break
      command: "false"
      when: inventory_hostname in bad
    - name: afterwards
      copy: {content: "{{ said.stdout }}", dest: "{{ playbook_dir }}/made-{{ inventory_hostname }}"}
    - set_stats: {data: {seen: 1}}
"""
LIGHT = """\
- name: everywhere
  hosts: all
  gather_facts: false
  tasks:
    - name: speak
      debug: {msg: "{{ inventory_hostname }}"}
    - name: break
      fail: {msg: no}
      when: inventory_hostname in bad
"""
HOSTS = "[all:vars]\nansible_connection=local\nbad=['h3']\n[some]\nh[1:6]\n[more]\nh6\nh10\n"


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABCTL_INVENTORY", raising=False)
    Path("site.yml").write_text(LIGHT)
    Path("hosts").write_text(HOSTS)

    def call(*arguments: str):
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def go(cli, *words: str) -> tuple[int, Path]:
    code = cli("run", "site.yml", "-i", "hosts", *words)[0]
    return code, Path("runs/latest").resolve()


def shards(cli, of: int = 4, *words: str) -> list[Path]:
    return [go(cli, "--shard", f"{index}/{of}", *words)[1] for index in range(1, of + 1)]


def head(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def events(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def results(folder: Path) -> dict[str, list]:
    """Of each host: task, status, and what does not differ from run to run."""
    found: dict[str, list] = {}
    for event in events(folder):
        if event["event"] == "result":
            result = event["data"]["result"]
            kept = {key: result.get(key) for key in ("rc", "stdout", "changed", "checksum", "msg")}
            found.setdefault(event["host"], []).append((event["task"], event["data"]["status"], kept))
    return found


def spoken(folder: Path) -> dict[str, list[str]]:
    """What each host's log holds, but for the times."""
    return {
        path.name: [line for line in path.read_text().splitlines() if not line.startswith("---")]
        for path in (folder / "logs").glob("*.log")
    }


def edit(folder: Path, **changes: object) -> None:
    (folder / "run.json").write_text(json.dumps({**head(folder), **changes}))


def test_four_shards_are_the_run_that_was_not_divided(cli):
    Path("site.yml").write_text(BOOK)
    code, whole = go(cli)
    for path in Path().glob("made-*"):
        path.unlink()
    parts = shards(cli)
    assert [head(part)["shard"]["index"] for part in parts] == [1, 2, 3, 4]
    merged_code, out, _err = cli("runs", "merge", *map(str, parts), "-o", "whole")
    assert merged_code == code == 2
    assert (
        out == f"4 shards, 8 hosts: 7 well, 1 failed, 0 unreachable\nrun folder: {Path('whole').resolve()}\n"
    )
    merged = Path("whole")
    expected, got = head(whole), head(merged)
    assert list(got["recap"].items()) == list(expected["recap"].items())
    for key in ("playbooks", "inventory", "limit", "check", "argv", "exit_code", "undone", "custom_stats"):
        assert got[key] == expected[key], key
    assert got["started"] == min(head(part)["started"] for part in parts)
    assert got["ended"] == max(head(part)["ended"] for part in parts)
    assert got["self"]["cpu_seconds"] == pytest.approx(sum(head(p)["self"]["cpu_seconds"] for p in parts))
    of_hosts = results(merged)
    for host, done in results(whole).items():
        assert of_hosts[host] == done, host
    assert spoken(merged) == spoken(whole)
    facts = {path.name for path in (whole / "facts").iterdir()}
    assert {path.name for path in (merged / "facts").iterdir()} == facts
    assert {path.name for path in merged.iterdir()} == {path.name for path in whole.iterdir()}


def test_events_are_in_order_between_one_beginning_and_one_end(cli):
    cli("runs", "merge", *map(str, shards(cli)), "-o", "whole")
    found = events(Path("whole"))
    kinds = [event["event"] for event in found]
    assert (kinds[0], kinds[-2:]) == ("run_start", ["stats", "run_end"])
    assert not {"run_start", "stats", "run_end"} & set(kinds[1:-2])
    assert {event["shard"] for event in found[1:-2]} == {1, 2, 3, 4}
    assert found[-2]["data"]["hosts"] == head(Path("whole"))["recap"]
    assert found[-1]["data"]["run_dir"] == str(Path("whole").resolve())


def test_a_joined_run_is_gone_on_with_whole_or_in_shards(cli):
    cli("runs", "merge", *map(str, shards(cli, 2)))
    merged = Path("runs/latest").resolve()
    assert merged.name.endswith("-site-merged")
    assert "2 shards  --resume" in cli("runs")[1]
    Path("hosts").write_text(HOSTS.replace("'h3'", ""))
    code, out, _err = cli("run", "--resume", merged.name)
    assert code == 0
    assert "[h3]" in out
    assert "[h1]" not in out
    code, out, _err = cli("run", "--resume", merged.name, "--shard", "1/2")
    assert (code, "h3" in out) == (0, True)


def test_a_shard_goes_on_as_the_shard_it_was(cli):
    stopped = shards(cli)[-1]
    Path("hosts").write_text(HOSTS.replace("'h3'", ""))
    code, _out, err = cli("run", "--resume", stopped.name, "--shard", "1/4")
    assert code == 5
    assert f"{stopped.name} was a run of shard 4/4" in err
    code, out, _err = cli("run", "--resume", stopped.name)
    assert code == 0
    assert "[h3]" in out
    assert head(Path("runs/latest"))["shard"]["index"] == 4


def merge_fails(cli, *folders: Path) -> str:
    before = set(Path("runs").iterdir())
    code, _out, err = cli("runs", "merge", *map(str, folders))
    assert code == 5
    assert set(Path("runs").iterdir()) == before
    return err


def test_what_is_not_of_one_run_is_refused(cli):
    one, two = shards(cli, 2)
    plain = go(cli)[1]
    assert f"{plain.name} is no run of a shard" in merge_fails(cli, one, plain)
    third = go(cli, "--shard", "2/3")[1]
    assert "are parts of different wholes" in merge_fails(cli, one, third)
    edit(two, playbooks=["other.yml"])
    assert 'their playbooks are ["site.yml"] and ["other.yml"]' in merge_fails(cli, one, two)
    Path("hosts").write_text(HOSTS + "h11\n")
    two = go(cli, "--shard", "2/2")[1]
    assert "their inventories were of 7 and of 8 hosts" in merge_fails(cli, one, two)
    Path("hosts").write_text(HOSTS.replace("h10", "h11"))
    two = go(cli, "--shard", "2/2")[1]
    assert "their inventories were of other hosts" in merge_fails(cli, one, two)
    limited = go(cli, "--shard", "2/2", "-l", "some")[1]
    assert 'their limit are null and "some"' in merge_fails(cli, one, limited)
    assert "there is no run 'nowhere'" in merge_fails(cli, Path("nowhere"))


def test_doubled_and_missing_shards_are_refused(cli):
    parts = shards(cli, 3)
    assert "shards 1/3, 3/3 of the run are missing" in merge_fails(cli, parts[1])
    again = go(cli, "--shard", "2/3")[1]
    said = merge_fails(cli, *parts, again)
    assert f"shard 2/3 is there twice: {parts[1].name} and {again.name}" in said
    edit(parts[1], recap={**head(parts[1])["recap"], "h1": {}})
    assert "host h1 was worked on in both" in merge_fails(cli, *parts)


def test_an_unfinished_shard_is_named_and_can_be_joined_all_the_same(cli):
    parts = shards(cli, 2)
    edit(parts[1], exit_code=None, ended=None, recap=None)
    with (parts[1] / "resume.jsonl").open("a") as stream:
        stream.write('{"host": "cut')
    assert f"{parts[1].name} (shard 2/2) has not ended" in merge_fails(cli, *parts)
    code, out, _err = cli("runs", "merge", "--partial", *map(str, parts), "-o", "whole")
    assert code == 130
    assert "not all of it: shard 2/2" in out
    assert head(Path("whole"))["missing_shards"] == [2]
    assert "cut" not in (Path("whole") / "resume.jsonl").read_text()
    assert "[h1]" not in cli("run", "--resume", "whole")[1]


def test_a_missing_shard_can_be_left_out(cli):
    parts = shards(cli, 3)
    code, out, _err = cli("runs", "merge", "--partial", str(parts[0]), "-o", "whole")
    assert (code, "not all of it: shard 2/3, 3/3" in out) == (130, True)
    assert "holds something already" in cli("runs", "merge", "--partial", str(parts[0]), "-o", "whole")[2]


def test_trials_of_one_shard_are_kept_and_those_of_two_are_refused(cli):
    parts = shards(cli, 2)
    trial = parts[0] / "trials/01-native-1"
    trial.mkdir(parents=True)
    (trial / "trial.json").write_text("{}")
    (parts[0] / "report.json").write_text("{}")
    cli("runs", "merge", *map(str, parts), "-o", "whole")
    assert (Path("whole/trials/01-native-1/trial.json")).read_text() == "{}"
    assert not Path("whole/report.json").exists()
    (parts[1] / "trials/01-native-1").mkdir(parents=True)
    (parts[1] / "trials/01-native-1/probe.jsonl").write_text("{}")
    assert "have each made a trial trials/01-native-1" in merge_fails(cli, *parts)


def test_the_report_of_a_joined_run_is_that_of_the_shard_with_the_trials(cli):
    parts = shards(cli, 2)
    made = make_run(Path("made"))
    for path in made.iterdir():
        if path.name in ("trials", "facts"):
            path.rename(parts[0] / path.name)
    cli("runs", "merge", *map(str, parts), "-o", "whole")
    one, whole = (
        cli("report", folder, "--no-write", "--format", "csv") for folder in (str(parts[0]), "whole")
    )
    assert one[0] == 0
    assert one[1] == whole[1]


@pytest.mark.parametrize(
    ("codes", "whole", "expected"),
    [
        ([0, 0], True, 0),
        ([0, 2], True, 2),
        ([0, 3], True, 3),
        ([3, 2], True, 2),
        ([2, 4], True, 4),
        ([8, 8], True, 8),
        ([8, 2], True, 2),
        ([2, 130], True, 130),
        ([1, 4], True, 1),
        ([0, 0], False, 130),
    ],
)
def test_exit_code_is_that_of_the_whole_run(codes, whole, expected):
    assert exit_code([{"exit_code": code} for code in codes], whole=whole) == expected


def test_an_error_that_ends_a_run_ends_the_whole():
    heads = [{"exit_code": 4}, {"exit_code": 6, "error": "the playbook …"}]
    assert exit_code(heads) == 6


def test_the_job_of_the_guide(cli, monkeypatch):
    guide = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
    job = yaml.safe_load(guide.split("```yaml\n")[1].split("```")[0])["spec"]
    labctl, *words = job["template"]["spec"]["containers"][0]["command"]
    assert (labctl, job["completionMode"]) == ("labctl", "Indexed")
    for index in range(job["completions"]):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        assert cli(*words)[0] in (0, 2)
    assert cli("runs", "merge", *map(str, Path("runs").glob("*-site*")))[0] == 2
    assert len(head(Path("runs/latest"))["recap"]) == 7
