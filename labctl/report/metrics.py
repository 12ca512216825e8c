"""The figures of a migration: their names in report.json, how people call them, what they mean."""

from __future__ import annotations

from labctl.records import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """Of every metric less is better. `compared`: strategies are compared by it; the others describe the
    state before, which no strategy has an influence on. `shown`: in the page's figures and the summary."""

    name: str
    label: str
    unit: str
    definition: str
    compared: bool = True
    shown: bool = True


PRIMARY = "cpu_seconds_until_regained"
NODE_CPU = "node_cpu_seconds_until_regained"
SOURCE_CPU = "cpu_millicores_source"

METRICS = (
    Metric(
        PRIMARY,
        "CPU until regained",
        "CPU s",
        "CPU-seconds of all the pod's containers on source and target, from the start of the migration until the"
        " workload is where it was: the trainer's step reached again, completed containers complete again."
        " Differences of the kernel's cumulative counters.",
    ),
    Metric(
        NODE_CPU,
        "Nodes' CPU until regained",
        "CPU s",
        "CPU-seconds of everything in the source and the target node in the same time: the pod, and what the container"
        " runtime, CRIU, labctl's agent and its sampler used there.",
        shown=False,
    ),
    Metric(
        SOURCE_CPU,
        "CPU after, source's method",
        "mCPU",
        "The certification text's method in the window after the migration: 20 samples, each the sum over the"
        " containers of \u0394cpu/\u0394t in millicores; sorted, mean without the 3 lowest and the 3 highest.",
    ),
    Metric(
        "memory_mib_source",
        "Memory after, source's method",
        "MiB",
        "The same 20 samples and trimmed mean, of the sum over the containers of memory.current.",
    ),
    Metric(
        "working_set_mib",
        "Working set after",
        "MiB",
        "Mean over the same samples of memory.current less inactive_file, as the kubelet has it.",
    ),
    Metric(
        "anon_mib",
        "Anonymous memory after",
        "MiB",
        "Mean over the same samples of anon in memory.stat: what the programs hold, without page cache.",
        shown=False,
    ),
    Metric(
        "peak_mib",
        "Peak memory",
        "MiB",
        "Sum over the containers on the target of memory.peak, read last before the recording ended.",
        shown=False,
    ),
    Metric(
        "regained_seconds",
        "Time until regained",
        "s",
        "From the start of the migration until an independent probe read a step at or past the one at the start,"
        " and all containers that had completed were complete again.",
    ),
    Metric(
        "migration_seconds",
        "Migration time",
        "s",
        "From the start of the migration until the strategy had done its last phase.",
    ),
    Metric(
        "downtime_seconds",
        "Downtime",
        "s",
        "The longest interval without a good answer to the probe, from the last good one before it to the first"
        " good one after it, until the progress is regained and the migration has ended. The probe asks from a"
        " third node at least every 20 ms.",
    ),
    Metric(
        "pause_seconds",
        "Training pause",
        "s",
        "The longest time between two neighbouring steps in the trainer's log, on whichever nodes, in the same time"
        " as the downtime. A service can answer while training stands still: held after it was saved, or frozen."
        " Steps that are made again count as steps here; they have a figure of their own.",
    ),
    Metric(
        "steps_redone",
        "Steps redone",
        "steps",
        "Training steps that were made a second time.",
    ),
    Metric(
        "moved_bytes",
        "State moved",
        "B",
        "Bytes written to the shared volume to carry state over.",
    ),
    Metric(
        "cpu_millicores_before",
        "CPU before, source's method",
        "mCPU",
        "The source's CPU method in the window before the migration.",
        compared=False,
        shown=False,
    ),
    Metric(
        "memory_mib_before",
        "Memory before, source's method",
        "MiB",
        "The source's memory method in the window before the migration.",
        compared=False,
        shown=False,
    ),
    Metric(
        "throttled_seconds",
        "Throttled",
        "s",
        "Time the containers' CPU limits held them back, from the start of the migration until regained. The"
        " limits are part of the workload: this explains times, it is not noise.",
        compared=False,
        shown=False,
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
ORDER = ("native", "native-resume", "optimized", "live")  # baseline first; others by first appearance


def strategy_order(found: list[str]) -> list[str]:
    known = [name for name in ORDER if name in found]
    return known + [name for name in dict.fromkeys(found) if name not in ORDER]
