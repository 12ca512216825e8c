"""Walks lists of tasks and blocks with a set of hosts, all hosts at the same task (the linear strategy).

A host that fails leaves the walk until a block around it rescues it. Threads only run tasks; every host's
state is changed here, in the thread that walks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from labctl.engine import asking, batch, blocks, includes, meta, settings
from labctl.engine.handlers import Handlers
from labctl.engine.pool import Inline, Pool
from labctl.engine.progress import Begun, Ended
from labctl.engine.results import hide
from labctl.engine.scopes import Scopes
from labctl.engine.state import Frame, HostState, Run, Step
from labctl.engine.task import HostTask, Outcome
from labctl.engine.verdict import harmless
from labctl.errors import LabctlError, Mark, PlaybookError
from labctl.events import Event, Kind, Status
from labctl.playbook import selected
from labctl.playbook.start import starts_at
from labctl.playbook.tree import Block, Entry, Handler, Keywords, Play, Task
from labctl.variables import Scope, contains_unknown, shown

_OURS = ("status", "seconds", "action")  # of a result's event: what holds no secret
_UNCERTAIN = "it runs only if '{}' changes something, which a dry run cannot know"


class Flow:
    """One batch of one play. `broken`: no later batch or play may run."""

    def __init__(
        self,
        run: Run,
        play: Play,
        scopes: Scopes,
        batch: Sequence[HostState],
        *,
        pool: Pool | Inline | None = None,
    ) -> None:
        self.run = run
        self.pool = pool or run.pool
        self.play = play
        self.scopes = scopes
        self.batch = list(batch)
        self.handlers = Handlers(play)
        self.broken = False

    def walk(self, entries: Sequence[Entry], hosts: Sequence[HostState], frame: Frame) -> None:
        for entry in entries:
            live = [host for host in hosts if host.takes_part(entry)]
            if not live:
                if not any(host.alive for host in hosts):
                    return
                continue
            self.run.stop.check()
            if isinstance(entry, Block):
                blocks.run(self, entry, live, frame)
            else:
                self.task(entry, live, frame)

    # one task

    def task(self, task: Task, hosts: list[HostState], frame: Frame) -> None:
        if not isinstance(task, Handler) and not self._wanted(task):
            return
        self.scopes.begin_task()
        step = Step(task, self._label(task, hosts[0], frame), frame)
        first = self.scopes.scope(hosts[0], task, frame)
        once = settings.lenient(task, "run_once", first)
        acting = hosts
        if once or (task.task_type and task.task_type.run_once):
            acting = [hosts[self.run.history.actor(task, [host.name for host in hosts])]]
        if task.action == "meta":
            meta.run(self, step, hosts)
            return
        if self.run.options.step:
            self.run.settle()
        if not self.run.stepper.allows(step.label):
            return
        known = [] if task.dynamic else self.run.history.begin(task, [host.name for host in acting])
        if task.dynamic or (fresh := [h for h, (_, past) in zip(acting, known, strict=True) if not past]):
            self.start(step, acting if task.dynamic else fresh)
        # A notification is spent when its handler starts, so that it can be notified again.
        waited = {h.name: self.handlers.take(h, task) for h in hosts} if isinstance(task, Handler) else {}
        reasons = [waited.get(host.name) for host in acting]
        if task.dynamic:
            includes.run(self, step, acting, hosts)
            return
        throttle = settings.number(task, "throttle", first)
        ready = 0
        if not (once or any(past for _begun, past in known)):
            begun = [each for each, _past in known]
            if batch.suits(self, step):
                ready = batch.run(self, step, acting, begun)
            elif asking.suits(self, step):
                asking.run(self, step, acting, begun, throttle)
                ready = len(acting)
        jobs: list[Callable[[], Outcome]] = [
            partial(lambda outcome: outcome, past)
            if past
            else HostTask(self.scopes, step, host, _UNCERTAIN.format(reason) if reason else None)
            for host, reason, (_begun, past) in list(zip(acting, reasons, known, strict=True))[ready:]
        ]

        def done(index: int, outcome: Outcome) -> None:
            host, begun = acting[ready + index], known[ready + index][0]
            self.ended(step, [(host, begun, outcome)], hosts if once else None)

        if jobs:
            self.pool.run(jobs, done, limit=int(throttle) if throttle else None, quick=step.quick)
        self.after(step, acting, hosts)

    def _label(self, task: Task, host: HostState, frame: Frame) -> str:
        """The task's name as shown, with what templates in it can be rendered for its first host."""
        text = task.label()
        if "{{" not in text or text.startswith("include_role : "):  # that name Ansible shows as written
            return text
        scope = self.scopes.scope(host, task, frame)
        try:
            name = str(scope.template(task.title, task.mark))
        except LabctlError:
            return text
        return f"{task.role.name} : {name}" if task.role else name

    def start(self, step: Step, hosts: Sequence[HostState]) -> None:
        mark = step.task.mark
        self.emit(
            Kind.TASK_START,
            task=step.label,
            name=step.label,
            action=step.task.action,
            path=f"{mark.file}:{mark.line}",
            handler=isinstance(step.task, Handler),
            hosts=[host.name for host in hosts],
            **({"free": True} if isinstance(self.pool, Inline) else {}),
        )

    def _wanted(self, task: Task) -> bool:
        options = self.run.options
        tags = [str(tag) for tag in task.all_tags()]
        if not selected(tags, options.tags, options.skip_tags):
            return False
        if not self.run.started and options.start_at_task is not None:
            self.run.started = starts_at(task, options.start_at_task)
        implicit = task.mark is self.play.mark  # the gathering of facts
        return self.run.started or implicit

    # what became of it

    def ended(
        self,
        step: Step,
        ended: Sequence[tuple[HostState, Begun, Outcome]],
        hosts: Sequence[HostState] | None = None,
    ) -> None:
        """Take over what a task did on hosts, tell of it and note it. `hosts`: all of those it counts for, where it is
        for more than the one (run_once)."""
        noted: list[Ended] = []
        told: list[Event] = []
        for host, begun, outcome in ended:
            self._apply(step.task, host, outcome, hosts or (host,))
            status = self._count(step, host, outcome)
            noted.append(Ended(begun, outcome, status))
            if not outcome.past:
                told.append(self._event(step, host, outcome, status))
        if told:
            self.run.bus.burst(told)
        self.run.history.progress.ended(step.task, step.label, noted)

    def _apply(self, task: Task, host: HostState, outcome: Outcome, hosts: Sequence[HostState]) -> None:
        for each in hosts if outcome.facts or outcome.variables else ():
            each.facts |= outcome.facts
            (each.included if outcome.included else each.registered).update(outcome.variables)
        for name, facts, variables in outcome.elsewhere:
            self.run.target(name).facts.update(facts)
            self.run.target(name).registered.update(variables)
        if task.register:
            registered = outcome.registered()
            for each in hosts:
                each.registered[task.register] = registered
        if task.action == "setup" and outcome.facts:
            host.gathered = True
        self._notify(task, outcome, hosts)

    def _notify(self, task: Task, outcome: Outcome, hosts: Sequence[HostState]) -> None:
        for name in outcome.notify:
            scope = self.scopes.scope(hosts[0], task)
            uncertain = task.title if outcome.result.is_unknown else None
            for host in hosts:
                try:
                    found = self.handlers.notify(host, name, scope, task.mark_of("notify"), uncertain)
                except PlaybookError as error:
                    if self.run.configuration.boolean("error_on_missing_handler") is not False:
                        raise
                    self.warn(error.message, error.mark)
                    continue
                for handler in found:
                    self.emit(Kind.NOTIFY, task=task.label(), host=host.name, handler=handler.label())

    def record(self, step: Step, host: HostState, outcome: Outcome) -> None:
        """Count and report a result that came about without a task type."""
        status = self._count(step, host, outcome)
        self.run.bus.burst([self._event(step, host, outcome, status)])

    def _count(self, step: Step, host: HostState, outcome: Outcome) -> Status:
        """Count a result, and take the host out of the walk when it failed. What it came to, after
        ignore_errors and rescue."""
        status = outcome.result.status
        if (status is Status.OK or status is Status.SKIPPED) and not outcome.past:
            host.stats[status] += 1
            return status
        counted = dict(host.stats) if outcome.past else {}
        if status in (Status.FAILED, Status.UNREACHABLE):
            status = self._failed(host, outcome, step.frame)
        elif status is Status.CHANGED:
            host.count("ok", "changed")
        else:
            host.may_change = host.may_change or (status is Status.UNKNOWN and not harmless(step.task))
            host.count(str(status))
        if status is Status.RESCUED:
            host.registered["ansible_failed_task"] = blocks.failed_task(step.task)
            host.registered["ansible_failed_result"] = outcome.result.values
        if outcome.past:
            host.stats = counted
        return status

    def _failed(self, host: HostState, outcome: Outcome, frame: Frame) -> Status:
        """Whether a failure is ignored, rescued, or the host's end in this play."""
        gone = outcome.result.unreachable
        if outcome.ignore_unreachable if gone else outcome.ignore_errors:
            host.count("ok", "ignored", *(["changed"] if outcome.result.changed else []))
            return Status.IGNORED
        host.unreachable, host.failed = host.unreachable or gone, host.failed or not gone
        if frame.rescuable:
            host.count("rescued")
            return Status.RESCUED
        host.codes.add(outcome.result.exit_code)
        host.count("unreachable" if gone else "failed")
        return Status.UNREACHABLE if gone else Status.FAILED

    def _event(self, step: Step, host: HostState, outcome: Outcome, status: Status) -> Event:
        result = outcome.result
        values = result.shown(no_log=outcome.no_log)
        told: dict[str, Any] = {
            "status": status,
            "seconds": round(result.seconds, 6),
            "action": outcome.action or step.task.action,
            "result": shown(values) if contains_unknown(values) else values,
        }
        if not outcome.no_log:
            told["changes"], told["diff"] = result.changes, result.diff
        if result.unknown:
            told["unknown"] = result.unknown
        if outcome.target:
            told["delegated"] = outcome.target
        if result.failed or result.unreachable:
            mark = result.mark or step.task.mark
            told |= {"mark": str(mark), "excerpt": "" if outcome.no_log else mark.excerpt()}
        if outcome.secrets:
            told = {
                name: item if name in _OURS else hide(item, outcome.secrets) for name, item in told.items()
            }
        return Event(Kind.RESULT, told, self.scopes.play_name, step.label, host.name)

    def after(self, step: Step, acted: Sequence[HostState], hosts: Sequence[HostState]) -> None:
        """What failures of some hosts mean for the others: run_once, any_errors_fatal, max_fail_percentage."""
        bad = [host for host in acted if host.failed or host.unreachable]
        if not bad:
            return
        if len(acted) < len(hosts):
            for host in hosts:
                host.dragged = host.dragged or host.alive
                host.failed = host.failed or host.alive
        scope = self.scopes.scope(bad[0], step.task, step.frame)
        usual = self.run.configuration.boolean("any_errors_fatal") or False
        if settings.lenient(step.task, "any_errors_fatal", scope, default=usual):
            for host in self.batch:
                host.failed = host.failed or host.alive
        if not step.frame.rescuable:
            self._check_share()

    def _check_share(self) -> None:
        scope = self.scopes.scope(self.batch[0])
        limit = settings.number(self.play, "max_fail_percentage", scope)
        if limit is None:
            return
        bad = sum(host.failed or host.unreachable for host in self.batch)
        if 100 * bad / len(self.batch) > limit:
            for host in self.batch:
                host.ended = host.ended or host.alive
            self.broken = True
            self.warn(f"more than {limit:g} % of the hosts have failed: the play ends here")

    # handlers

    def flush(self, hosts: Sequence[HostState], frame: Frame | None = None) -> None:
        """Run notified handlers, in the order they are defined; a handler that one behind it notifies runs
        at the next flush. `frame`: of the task that asks for it."""
        inner = Frame(rescuable=frame.rescuable if frame else False)
        for handler in self.handlers.flushed(hosts, self.scope(hosts[0])):
            notified = [host for host in hosts if host.alive and self.handlers.waits(host, handler)]
            if notified:
                self.task(handler, notified, inner)

    # events

    def emit(self, kind: Kind, **data: Any) -> None:
        self.run.bus.emit(kind, play=self.scopes.play_name, **data)

    def warn(self, message: str, mark: Mark | None = None) -> None:
        self.emit(Kind.WARNING, message=message, mark=str(mark) if mark else None)

    def scope(self, host: HostState, node: Keywords | None = None, frame: Frame | None = None) -> Scope:
        return self.scopes.scope(host, node, frame)
