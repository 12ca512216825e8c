"""(c) 50 templated files on 20 hosts: c1 writes them, c2 finds them as they should be."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Measured
from benchmarks.workload import Rounds, Scene, Workload, WrongWork

FILES, HOSTS = 50, 20
# no tag ends a line: whether that line's end stays is where the tools differ
_TEMPLATE = """\
# part {{ number }} of {{ who }}
listen {{ 8000 + number }}
upstreams {% for n in range(20) %}{{ who }}-{{ number + n }}{{ ',' if not loop.last }}{% endfor %} end
{{ 'even' if number % 2 == 0 else 'odd' }} {{ who | upper }}
"""
_TASK = """\
    - name: part {number}
      template: {{src: part.j2, dest: "{{{{ work }}}}/{{{{ inventory_hostname }}}}/part-{number}", mode: "0644"}}
      vars: {{who: "{{{{ inventory_hostname }}}}", number: {number}}}
"""
_OPERATION = """\
files.template(
    name="part {number}", src="part.j2", dest=f"{{host.data.work}}/{{host.name}}/part-{number}", mode="644",
    who=host.name, number={number},
)
"""


def content(who: str, number: int) -> str:
    upstreams = ",".join(f"{who}-{number + n}" for n in range(20))
    even = "odd" if number % 2 else "even"
    return (
        f"# part {number} of {who}\nlisten {8000 + number}\nupstreams {upstreams} end\n{even} {who.upper()}\n"
    )


class Templates(Workload):
    hosts = HOSTS
    tools = ("labctl", "ansible", "mitogen", "pyinfra")
    most_rounds = Rounds(ansible=1, mitogen=2)

    def __init__(self, name: str, *, again: bool) -> None:
        self.name, self._again = name, again
        self.title = (
            f"{FILES} templated files on {HOSTS} hosts, "
            + "nothing to change" * again
            + "first run" * (not again)
        )
        self._before: dict[Path, tuple[int, int]] = {}

    def write(self, folder: Path) -> None:
        (folder / "part.j2").write_text(_TEMPLATE)
        tasks = "".join(_TASK.format(number=number) for number in range(1, FILES + 1))
        (folder / "play.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")
        operations = "".join(_OPERATION.format(number=number) for number in range(1, FILES + 1))
        head = "from pyinfra import host\nfrom pyinfra.operations import files\n\n"
        (folder / "deploy.py").write_text(head + operations)

    def reset(self, scene: Scene) -> None:
        super().reset(scene)
        self._before.clear()
        for host in scene.hosts if self._again else ():
            for number in range(1, FILES + 1):
                path = scene.work / host.name / f"part-{number}"
                path.write_text(content(host.name, number))
                path.chmod(0o644)
                self._before[path] = (path.stat().st_ino, path.stat().st_mtime_ns)

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:  # noqa: ARG002
        for host in scene.hosts:
            for number in range(1, FILES + 1):
                path = scene.work / host.name / f"part-{number}"
                if not path.exists() or path.read_text() != content(host.name, number):
                    raise WrongWork(f"{host.name} has no part-{number} with the expected content")
                if path.stat().st_mode & 0o777 != 0o644:
                    raise WrongWork(f"part-{number} of {host.name} has not mode 0644")
        for path, before in self._before.items():
            if (path.stat().st_ino, path.stat().st_mtime_ns) != before:
                raise WrongWork(f"{path.parent.name} had its {path.name} written again")


WORKLOADS = [Templates("c1", again=False), Templates("c2", again=True)]
