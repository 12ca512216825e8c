"""A room imports only from floors below it. The floors are those of the table in docs/architecture.md."""

import ast
import re
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = re.findall(
    r"^\| (\d) \| (.+) \|$", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE
)
FLOORS = {int(floor): re.findall(r"`([a-z_]+)/?`", rooms) for floor, rooms in TABLE}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
BESIDE = ("monitor",)  # watches the others: uses floor 1, is used by engine and cli
ON_NODES = ("collectors", "workloads", "labctl/node/functions")


def modules(folder: str) -> list[Path]:
    path = ROOT / folder
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names of the labctl modules a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name == "labctl" or name.startswith("labctl.")}


def room_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in {*FLOOR_OF, *BESIDE} else None


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules("labctl"), ids=label)
def test_a_room_imports_only_from_floors_below(path: Path) -> None:
    relative = path.relative_to(ROOT / "labctl")
    room = relative.parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    assert room in {*FLOOR_OF, *BESIDE}, f"{room} has no floor: add it to the table in docs/architecture.md"
    floor = FLOOR_OF.get(room, 2)
    for name in imported(path):
        other = room_of(name)
        if other in (None, room):
            continue
        allowed = floor >= 5 if other in BESIDE else FLOOR_OF[other] < floor
        assert allowed, (
            f"{label(path)} (floor {floor}) imports {name} (floor {FLOOR_OF.get(other, 'beside')})"
        )


@pytest.mark.parametrize("path", modules("tasks"), ids=label)
def test_task_types_never_reach_for_the_command_line_or_the_engine(path: Path) -> None:
    assert {room_of(name) for name in imported(path)}.isdisjoint({"cli", "engine", "console"})


@pytest.mark.parametrize("path", [path for folder in ON_NODES for path in modules(folder)], ids=label)
def test_what_runs_on_nodes_imports_nothing_of_labctl(path: Path) -> None:
    beside = "labctl.node.functions." if path.parent.name == "functions" else "/"  # they travel together
    assert {name for name in imported(path) if not name.startswith(beside)} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "labctl" / "node").glob("agent*.py")), ids=label)
def test_the_agent_is_made_of_its_own_modules_alone(path: Path) -> None:
    assert {name for name in imported(path) if not name.startswith("labctl.node")} == set()


def test_every_room_of_the_table_has_one_floor() -> None:
    rooms = [room for rooms in FLOORS.values() for room in rooms]
    assert sorted(FLOORS) == [1, 2, 3, 4, 5, 6]
    assert len(rooms) == len(set(rooms))
    assert {"errors", "yaml", "inventory", "variables", "playbook", "engine", "cli"} <= set(rooms)


EVERY = [path for folder in ("labctl", "tasks", "collectors") for path in modules(folder)]


@pytest.mark.parametrize("path", EVERY, ids=label)
def test_a_module_is_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def at_import(path: Path, known: Collection[str]) -> set[str]:
    """The labctl modules that loading a file loads: what it imports outside functions and type checking."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in named}
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.ClassDef):
            waiting += [*node.body, *getattr(node, "orelse", [])]
    return found


def test_no_module_is_loaded_by_what_it_loads() -> None:
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules("labctl")
    }
    loads = {name: at_import(path, names) & names.keys() for name, path in names.items()}
    circles: list[str] = []
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            circles.append(" → ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in sorted(loads[name] - {name}):
                visit(other, [*trail, name])
            done.add(name)

    for name in names:
        visit(name, [])
    assert not circles, "\n".join(circles)
