"""What the documents show must work as shown."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.cli.main import main
from labctl.node.fake import FakeNode
from labctl.task_types import Registry

ROOT = Path(__file__).resolve().parents[2]


def test_the_task_type_of_the_guide(tmp_path):
    source = re.search(r"```python\n(.*?)```", (ROOT / "docs/task-types.md").read_text(), re.DOTALL).group(1)
    (tmp_path / "motd.py").write_text(source)
    kind = Registry([tmp_path]).get("motd")
    node = FakeNode("a")
    node.add_directory("/etc")
    args = kind.bind({kind.free_form: "hello"}, lambda _name: None)
    for expected in (1, 0):
        steps = kind.run(args, SimpleNamespace(node=node))
        changes = 0
        try:
            change = next(steps)
            while True:
                changes += 1
                change = steps.send(change.apply())
        except StopIteration:
            pass
        assert changes == expected
    assert node.read("/etc/motd") == b"hello\n"


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(folder / "none.cfg"))
    (folder / "hosts").write_text("one ansible_connection=local\n")
    return main(["run", "site.yml", "-i", "hosts", *words])


def test_the_playbook_of_the_guide_for_users_of_ansible(tmp_path, monkeypatch, capsys):
    (tmp_path / "site.yml").write_text(blocks("from-ansible.md", "yaml")[0])
    assert run(tmp_path, monkeypatch) == 0
    out = capsys.readouterr().out
    assert "no-such-host.invalid" in out
    assert "rescued=1" in out


def test_the_task_type_of_the_guide_in_a_playbook(tmp_path, monkeypatch, capsys):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/motd.py").write_text(blocks("task-types.md", "python")[0])
    play = "- hosts: all\n  gather_facts: false\n  tasks:\n    - motd: {text: hello, path: '{{ playbook_dir }}/motd'}\n"
    (tmp_path / "site.yml").write_text(play)
    assert run(tmp_path, monkeypatch, "--check", "--diff") == 3
    assert "+hello" in capsys.readouterr().out
    for changed in (1, 0):
        assert run(tmp_path, monkeypatch) == 0
        assert f"changed={changed}" in capsys.readouterr().out
    assert (tmp_path / "motd").read_text() == "hello\n"


def refused() -> list[str]:
    table = (ROOT / "docs/from-ansible.md").read_text().partition("## What is refused")[2]
    first = re.findall(r"^\| (.+?) \|", table, re.MULTILINE)
    return [code for cell in first for code in re.findall(r"`([a-z_]+: [^`]+)`", cell)]


@pytest.mark.parametrize("line", refused())
def test_what_the_guide_calls_refused_is_refused_with_its_position(line, tmp_path, monkeypatch, capsys):
    of_a_play = line.startswith(("strategy", "validate"))
    play = (
        f"- hosts: all\n  {line}\n" if of_a_play else f"- hosts: all\n  tasks:\n    - ping:\n      {line}\n"
    )
    (tmp_path / "site.yml").write_text(play)
    assert run(tmp_path, monkeypatch) == 6
    assert f"site.yml:{2 if of_a_play else 4}:" in capsys.readouterr().err


def test_the_guide_names_every_setting_that_is_read():
    named = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/from-ansible.md").read_text()))
    source = (ROOT / "labctl/configuration.py").read_text()
    read = set(re.findall(r'\(\s*"\w+",\s*"(\w+)",\s*"ANSIBLE_', source))
    assert len(read) >= 28
    assert read <= named


def test_there_are_as_many_conformance_cases_as_the_readme_says():
    said = int(re.search(r"More than (\d+) small playbooks", (ROOT / "README.md").read_text()).group(1))
    cases = ROOT.glob("tests/conformance/*/*.yml")
    assert sum(path.read_text().count("\n- case:") + 1 for path in cases) > said


def test_every_file_the_documents_name_is_there():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} names {target}"
