"""What the documents show must work as shown."""

import re
from pathlib import Path
from types import SimpleNamespace

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


def test_every_file_the_documents_name_is_there():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} names {target}"
