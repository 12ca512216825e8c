"""The typed tree of a playbook: plays, blocks, tasks, roles, with a position on everything.

Values are as written: a keyword may still be a template, and None means it was not given. Every node
knows its `parent`; what is inherited is looked up through it when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from labctl import yaml
from labctl.errors import Mark
from labctl.records import dataclass, field
from labctl.task_types import TaskType

Section = Literal["pre_tasks", "roles", "tasks", "post_tasks"]

# Actions that have no file in a tasks/ folder: the engine itself carries them out.
INCLUDES = ("include_tasks", "include_role")
IMPORTS = ("import_tasks", "import_role", "import_playbook")
ENGINE_ACTIONS = (*INCLUDES, *IMPORTS[:2], "include_vars", "meta")


@dataclass(kw_only=True, eq=False)
class Keywords:
    """What plays, roles, blocks and tasks share. `marks` holds where each given keyword's value stands."""

    mark: Mark
    parent: Keywords | None = field(default=None, repr=False)
    marks: Mapping[str, Mark] = field(default_factory=dict, repr=False)
    name: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    when: Sequence[Any] = ()
    tags: Sequence[Any] = ()
    become: Any = None
    become_user: Any = None
    become_method: Any = None
    become_exe: Any = None
    become_flags: Any = None
    collections: Any = None
    debugger: Any = None
    connection: Any = None
    port: Any = None
    remote_user: Any = None
    environment: Any = None
    no_log: Any = None
    ignore_errors: Any = None
    ignore_unreachable: Any = None
    check_mode: Any = None
    diff: Any = None
    any_errors_fatal: Any = None
    run_once: Any = None
    throttle: Any = None
    timeout: Any = None
    delegate_to: Any = None
    delegate_facts: Any = None
    notify: Sequence[Any] | None = None
    module_defaults: Sequence[Mapping[str, Any]] = ()
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def mark_of(self, keyword: str) -> Mark:
        """Where a keyword's value stands; the node itself when it was not given."""
        return self.marks.get(keyword, self.mark)

    def ancestors(self) -> Iterator[Keywords]:
        """This node and those around it, innermost first, dynamic includes among them."""
        node: Keywords | None = self
        while node is not None:
            yield node
            node = node.parent

    def lineage(self) -> Iterator[Keywords]:
        """The nodes this one inherits keywords from, itself first. A dynamic include passes on nothing but
        variables, as in Ansible."""
        for node in self.ancestors():
            if node is self or not isinstance(node, Task):
                yield node

    def inherited(self, keyword: str, default: Any = None) -> Any:
        """The innermost value of a keyword, unrendered. For when, tags, vars, environment use the methods
        below: those add up."""
        if keyword in self._known:
            value = self._known[keyword]
        else:
            values = (getattr(node, keyword, None) for node in self.lineage())
            value = self._known[keyword] = next((found for found in values if found is not None), None)
        return default if value is None else value

    def inherited_mark(self, keyword: str) -> Mark:
        """Where the value that `inherited` finds stands."""
        owners = (node for node in self.lineage() if getattr(node, keyword, None) is not None)
        return next(owners, self).mark_of(keyword)

    @cached_property
    def conditions(self) -> list[Any]:
        """Every `when` that must hold, outermost first."""
        return [condition for node in reversed([*self.lineage()]) for condition in node.when]

    def all_tags(self) -> list[Any]:
        """Own and inherited tags, each once, own first."""
        return list(dict.fromkeys(tag for node in self.lineage() for tag in node.tags))

    @cached_property
    def environments(self) -> list[Any]:
        """Every `environment` (a mapping, or a template of one), outermost first: later wins."""
        found: list[Any] = []
        for node in reversed([*self.lineage()]):
            if node.environment is not None:
                found.extend(node.environment if isinstance(node.environment, list) else [node.environment])
        return found

    @cached_property
    def play(self) -> Play:
        return next(node for node in self.ancestors() if isinstance(node, Play))

    @cached_property
    def role(self) -> Role | None:
        """The role this node belongs to."""
        return next((node for node in self.ancestors() if isinstance(node, Role)), None)

    @cached_property
    def roles_around(self) -> list[Role]:
        """The role this node belongs to and the roles that brought that one in, outermost first."""
        return [node for node in reversed([*self.ancestors()]) if isinstance(node, Role)]

    def block_vars(self) -> dict[str, Any]:
        """`vars` of the blocks around this node and its own; those of plays, roles and dynamic includes
        have other ranks."""
        merged: dict[str, Any] = {}
        for node in reversed([*self.ancestors()]):
            if isinstance(node, Block) or node is self:
                merged |= node.vars
        return merged

    def role_params(self) -> dict[str, Any]:
        """What the roles around this node were called with, inner ones winning."""
        return {name: value for role in self.roles_around for name, value in role.params.items()}

    def include_params(self) -> dict[str, Any]:
        """`vars` of the dynamic includes this node came through."""
        includes = [node for node in self.ancestors() if isinstance(node, Task) and node is not self]
        return {name: value for node in reversed(includes) for name, value in node.vars.items()}


@dataclass(kw_only=True, eq=False)
class LoopControl:
    """How a loop names and shows its turns. `pause` is in seconds."""

    mark: Mark
    loop_var: Any = "item"
    index_var: Any = None
    label: Any = None
    pause: Any = None
    extended: Any = None
    extended_allitems: Any = None
    break_when: Sequence[Any] = ()


@dataclass(kw_only=True, eq=False)
class Repeatable(Keywords):
    """What can be done in turns: a task, and in labctl a block. `loop_kind` is the X of `with_X`, None for
    `loop`."""

    loop: Any = None
    loop_kind: str | None = None
    loop_control: LoopControl | None = None
    until: Sequence[Any] = ()
    retries: Any = None
    delay: Any = None


@dataclass(kw_only=True, eq=False)
class Task(Repeatable):
    """One task. `args` are its arguments as written, the text of `command: text` among them under the
    argument that takes it; `task_type` is None for the engine's own actions. `written` is the action's name as
    the playbook has it. `preview`: what a dynamic
    include will load, where its name is known before the run (for checks, not for running)."""

    action: str
    written: str = ""
    task_type: TaskType | None = field(default=None, repr=False)
    args: yaml.Mapping
    register: str | None = None
    changed_when: Sequence[Any] | None = None
    failed_when: Sequence[Any] | None = None
    listen: Sequence[str] = ()
    async_: Any = None
    poll: Any = None
    preview: Sequence[Entry] = field(default=(), repr=False)

    def arg_mark(self, name: str) -> Mark:
        """Where an argument's value stands; '' is the action itself."""
        return self.args.value_mark(name)

    @property
    def dynamic(self) -> bool:
        """Whether its tasks are loaded at run time."""
        return self.action in INCLUDES

    @property
    def title(self) -> str:
        """Its name, or its action where it has none."""
        return self.name or self.written or self.action

    def label(self) -> str:
        """What listings and the console call it: "role : title"."""
        name = self.title
        if not self.name and self.action == "include_role":
            name = f"{name} : {self.args.get('name') or self.args.get('role')}"
        return f"{self.role.name} : {name}" if self.role else name


@dataclass(kw_only=True, eq=False)
class Handler(Task):
    """A task that runs when it, or a topic it listens to, was notified."""

    def answers_to(self, notification: str, own_name: str) -> bool:
        names = {own_name}
        if self.role:
            names.add(f"{self.role.name} : {own_name}")
        return notification in names

    def topics(self) -> list[str]:
        """What it listens to; those of a role's handler also with the role's name in front."""
        listened = [str(topic) for topic in self.listen]
        return [*listened, *(f"{self.role.name} : {topic}" for topic in listened)] if self.role else listened


@dataclass(kw_only=True, eq=False)
class Block(Repeatable):
    """Tasks with what to do when one fails. `source` is the file an `import_tasks` here was about,
    `imported_role` the role of an `import_role`."""

    block: Sequence[Entry] = ()
    rescue: Sequence[Entry] = ()
    always: Sequence[Entry] = ()
    source: str | None = None
    imported_role: Role | None = None


Entry: TypeAlias = "Task | Block"


@dataclass(kw_only=True, eq=False)
class Role(Keywords):
    """One use of a role. `params` are the variables it was called with (those under `vars` have a lower
    rank), `defaults` and `variables` those of its folders; `public`: the play's tasks see them too. `parts` names the files it was told to
    take (`tasks_from` …)."""

    path: Path
    params: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict, repr=False)
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    dependencies: Sequence[Role] = ()
    tasks: Sequence[Entry] = ()
    handlers: Sequence[Entry] = ()
    parts: tuple[str, ...] = ()
    allow_duplicates: bool = False
    public: bool = True

    def with_dependencies(self) -> Iterator[Role]:
        """The roles this one depends on, each before what needs it, then itself."""
        for role in self.dependencies:
            yield from role.with_dependencies()
        yield self

    def entries(self) -> list[Entry]:
        """The tasks of its dependencies and its own, in the order they run."""
        return [entry for role in self.with_dependencies() for entry in role.tasks]

    def same_call(self, other: Role) -> bool:
        """Whether running `other` after this one would repeat it: the same role with the same parameters,
        and no condition or tag that could have left this one out but not `other`."""
        mine, theirs = [*map(str, self.conditions)], [*map(str, other.conditions)]
        return (
            self.path == other.path
            and self.parts == other.parts
            and dict(self.params) == dict(other.params)
            and dict(self.vars) == dict(other.vars)
            and all(condition in theirs for condition in mine)
            and set(map(str, self.all_tags())) >= set(map(str, other.all_tags()))
        )


@dataclass(kw_only=True, eq=False)
class PlaybookImport(Keywords):
    """An `import_playbook`: its plays inherit `when`, `tags` and `vars` from it."""


@dataclass(kw_only=True, eq=False)
class Play(Keywords):
    """One play. `hosts` is the pattern as written, `path` the file it stands in."""

    path: Path
    hosts: Any
    vars_files: Sequence[Any] = ()
    vars_prompt: Sequence[Mapping[str, Any]] = ()
    gather_facts: Any = None
    gather_subset: Any = None
    gather_timeout: Any = None
    fact_path: Any = None
    serial: Any = None
    strategy: Any = None
    order: Any = None
    max_fail_percentage: Any = None
    force_handlers: Any = None
    pre_tasks: Sequence[Entry] = ()
    roles: Sequence[Role] = ()
    tasks: Sequence[Entry] = ()
    post_tasks: Sequence[Entry] = ()
    own_handlers: Sequence[Entry] = ()

    @cached_property
    def dir(self) -> Path:
        """The folder beside which roles/, group_vars/, files/ and templates/ are looked for."""
        return self.path.parent

    def title(self) -> str:
        """Its name, or the hosts it is for."""
        return self.name or (
            ",".join(map(str, self.hosts)) if isinstance(self.hosts, list) else str(self.hosts)
        )

    def play_vars(self) -> dict[str, Any]:
        """`vars` of the play, under those of the `import_playbook` around it."""
        return {name: value for node in self.ancestors() for name, value in node.vars.items()}

    def sections(self) -> list[tuple[Section, list[Entry]]]:
        """What runs, in order; handlers are flushed after pre_tasks, after roles and tasks together, and
        after post_tasks."""
        return [
            ("pre_tasks", list(self.pre_tasks)),
            ("roles", [entry for role in self.role_runs() for entry in role.tasks]),
            ("tasks", list(self.tasks)),
            ("post_tasks", list(self.post_tasks)),
        ]

    @cache  # noqa: B019 - a play lives as long as the run
    def role_runs(self) -> list[Role]:
        """The roles of `roles:` and what they depend on, in order. A role called again in the same way
        runs once, unless it allows duplicates."""
        runs: list[Role] = []
        for role in (each for top in self.roles for each in top.with_dependencies()):
            if role.allow_duplicates or not any(earlier.same_call(role) for earlier in runs):
                runs.append(role)
        return runs

    @cache  # noqa: B019 - a play lives as long as the run
    def static_roles(self) -> list[Role]:
        """Every role known before the run, of `roles:` and `import_role`, dependencies first."""
        entries = [*self.pre_tasks, *self.tasks, *self.post_tasks, *self.own_handlers]
        below = walk([*entries, *(e for role in self.role_runs() for e in role.tasks)])
        imported = [e.imported_role for e in below if isinstance(e, Block) and e.imported_role]
        return list(
            dict.fromkeys(each for role in (*self.roles, *imported) for each in role.with_dependencies())
        )

    @cache  # noqa: B019 - a play lives as long as the run
    def handlers(self) -> list[Handler]:
        """Handlers in the order they run: those of `roles`, the play's own, those of imported roles. Of a
        role used more than once the last use counts."""
        listed = {id(each) for role in self.roles for each in role.with_dependencies()}
        of_roles = [role for role in self.static_roles() if id(role) in listed]
        imported = [role for role in self.static_roles() if id(role) not in listed]
        found = [h for role in of_roles for h in handlers_in(role.handlers)]
        found += handlers_in(self.own_handlers)
        found += [h for role in imported for h in handlers_in(role.handlers)]
        unique = {(handler.mark, handler.name): handler for handler in found}
        return list(unique.values())


def handlers_in(entries: Sequence[Entry]) -> Iterator[Handler]:
    """The handlers in a list of them, those of imported files among them."""
    for entry in walk(entries):
        if isinstance(entry, Handler):
            yield entry


def walk(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Every block and task below, blocks before what they hold, in the order written."""
    for entry in entries:
        yield entry
        if isinstance(entry, Block):
            yield from walk([*entry.block, *entry.rescue, *entry.always])


@dataclass(eq=False)
class Playbook:
    """All plays, imported ones included, in order. `warnings` (message, position) are for the user to read."""

    path: Path
    plays: list[Play]
    warnings: list[tuple[str, Mark | None]] = field(default_factory=list)

    @property
    def dir(self) -> Path:
        return self.path.parent
