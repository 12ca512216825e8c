"""Recomputes the figures of a report.json from the raw files beside it: `recompute.py RUN_FOLDER`.

Written from docs/architecture.md alone: it imports nothing of labctl, only the standard library. It takes
from report.json nothing but which runs were disturbed (`clean`); every value of every trial, every mean,
median and spread, every ratio, interval and verdict is made again. Exit code 0 when all agree, 1 with a
list of those that do not.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import sys
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

MIB = 1024 * 1024
COMPARED = (
    "cpu_seconds_until_regained", "node_cpu_seconds_until_regained", "cpu_millicores_source", "memory_mib_source", "working_set_mib", "anon_mib", "peak_mib",
    "regained_seconds", "migration_seconds", "downtime_seconds", "pause_seconds", "steps_redone", "moved_bytes",
)  # fmt: skip
DESCRIBED = ("cpu_millicores_before", "memory_mib_before", "throttled_seconds")
BASELINES = ("native", "native-resume", "optimized", "live")


def read(path):
    """The objects of a JSON Lines file; a last line that was cut in two is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def offset(trial, host):
    return trial.get("offset", {}).get(host) or 0.0


class Host:
    """One cgroup-<host>.jsonl on the controller's clock."""

    def __init__(self, path, trial):
        records = read(path)
        self.name = records[0]["host"]
        self.interval = records[0]["interval"]
        timed = [r for r in records if r["type"] in ("sample", "gone")]
        shift = statistics.median(r["wall"] - r["mono"] for r in timed) - offset(trial, self.name)
        for record in timed:
            record["t"] = record["mono"] + shift
        self.samples = [r for r in timed if r["type"] == "sample"]
        self.gone = [r for r in timed if r["type"] == "gone"]

    def names(self):
        return {name for sample in self.samples for name in sample["containers"]}

    def cpu(self, container, start, end):
        """Microseconds between two moments: the counter is 0 before the cgroup was there, is read from samples
        while it is, and stays what it last was when it has gone."""
        total, life, previous = 0.0, [], None
        gone = [g for g in self.gone if g["container"] == container]
        for sample in self.samples:
            while gone and life and life[-1][0] < gone[0]["t"] <= sample["t"]:
                last = gone.pop(0)
                life.append((last["t"], life[-1][1] + (last.get("missed_usec") or 0)))
                total, life = total + between(life, start, end), []
            now = sample["containers"].get(container)
            if now is not None:
                if life and now["cpu_usec"] < life[-1][1]:
                    total, life = total + between(life, start, end), []
                if not life and previous is not None:
                    life.append((previous, 0))
                life.append((sample["t"], now["cpu_usec"]))
            previous = sample["t"]
        if gone and life and gone[0]["t"] > life[-1][0]:
            life.append((gone[0]["t"], life[-1][1] + (gone[0].get("missed_usec") or 0)))
        return total + between(life, start, end)

    def whole(self, start, end):
        """Microseconds that everything in the node used; None when that was not recorded throughout."""
        told = [
            (s["t"], s["node"]["own_usec"]) for s in self.samples if s["node"].get("own_usec") is not None
        ]
        if not told or told[0][0] > start or told[-1][0] < end:
            return None
        return between(told, start, end)

    def held(self, containers, t, value):
        """Bytes at `t` by the last sample before it; None when there is none."""
        before = [sample for sample in self.samples if sample["t"] <= t]
        if not before or t - before[-1]["t"] > 5 * self.interval:
            return None
        values = [value(before[-1]["containers"][c]) for c in containers if c in before[-1]["containers"]]
        return None if None in values else sum(values)

    def rise(self, container, key, start, end):
        """By how much a counter rose, by the samples that say; None when the container was there and none says."""
        total, before, told = 0, None, []
        for sample in self.samples:
            found = sample["containers"].get(container)
            now = found[key] if found else 0
            told += [now] if found else []
            if now is None:
                continue
            if found and before is not None and start <= sample["t"] <= end:
                total += now - before if now >= before else now
            before = now
        return None if told and set(told) == {None} else total


def working_set(counters):
    known = counters["memory"], counters["inactive_file"]
    return None if None in known else max(0, known[0] - known[1])


def between(life, start, end):
    def at(t):
        if not life or t <= life[0][0]:
            return life[0][1] if life else 0
        for (t0, v0), (t1, v1) in pairwise(life):
            if t0 <= t <= t1 and t1 > t0:
                return v0 + (v1 - v0) * (t - t0) / (t1 - t0)
        return life[-1][1]

    return at(end) - at(start)


def trimmed(samples):
    """The source's method: 20 samples, the mean without the 3 lowest and the 3 highest."""
    if len(samples) != 20 or None in samples:
        return None
    middle = sorted(samples)[3:17]
    return sum(middle) / 14


def end_of(trial):
    """When the progress was regained and the migration had ended; None when it was not regained."""
    return max(trial["regained"], trial["ended"]) if trial["regained"] is not None else None


def pause(folder, trial):
    """The longest time between two steps that follow each other, until `end_of`; None when one side is not there."""
    log = [r for r in read(folder / "steps.jsonl") if r["event"] == "step"]
    done = sorted(r["wall"] - offset(trial, r["host"]) for r in log)
    until = end_of(trial) or math.inf
    if not done or done[0] > trial["started"] or done[-1] <= trial["started"]:
        return None
    return max(b - a for a, b in pairwise(done) if b > trial["started"] and a < until)


def downtime(folder, trial):
    """The longest run of failed probes, from the good one before it to the good one after it."""
    records = read(folder / "probe.jsonl")
    probes = sorted((r for r in records if r["type"] == "probe"), key=lambda r: r["n"])
    if not probes:
        return None
    shift = statistics.median(r["wall"] - r["mono"] for r in probes) - offset(trial, records[0]["host"])
    good = [r["mono"] + shift for r in probes if r["ok"]]
    bad = [r["mono"] + shift for r in probes if not r["ok"]]
    until = end_of(trial) or probes[-1]["mono"] + shift
    longest = 0.0
    for t in bad:
        before, after = [g for g in good if g < t], [g for g in good if g > t]
        if (after and after[0] < trial["started"]) or (before and before[-1] > until):
            continue
        if not before or not after:
            return None
        longest = max(longest, after[0] - before[-1])
    return longest


def values_of(folder):
    """Every metric of one trial; None where it has no value."""
    trial = json.loads((folder / "trial.json").read_text())
    found = dict.fromkeys((*COMPARED, *DESCRIBED))
    if trial.get("error"):
        return found
    hosts = [Host(path, trial) for path in sorted(folder.glob("cgroup-*.jsonl"))]
    pod = sorted({n for host in hosts for n in host.names() if n.startswith(trial["pod"] + "/")})
    started, regained = trial["started"], trial["regained"]
    found["migration_seconds"] = trial["ended"] - started
    found["downtime_seconds"] = downtime(folder, trial)
    found["pause_seconds"] = pause(folder, trial)
    found["steps_redone"], found["moved_bytes"] = trial["steps_redone"], trial["moved_bytes"]

    def cpu(start, end):
        return sum(host.cpu(name, start, end) for host in hosts for name in pod) / 1e6

    recorded = {trial["source"], trial["target"]} <= {host.name for host in hosts}
    if regained is not None:
        found["regained_seconds"] = regained - started
    if regained is not None and recorded:
        found["cpu_seconds_until_regained"] = cpu(started, regained)
        whole = [host.whole(started, regained) for host in hosts]
        if None not in whole:
            found["node_cpu_seconds_until_regained"] = sum(whole) / 1e6
        rises = [host.rise(name, "throttled_usec", started, regained) for host in hosts for name in pod]
        found["throttled_seconds"] = None if None in rises else sum(rises) / 1e6
    keys = {
        "before": ("cpu_millicores_before", "memory_mib_before"),
        "after": ("cpu_millicores_source", "memory_mib_source"),
    }
    for when, (cpu_key, memory_key) in keys.items():
        if not trial["windows"].get(when) or not recorded:
            continue
        start, end = trial["windows"][when]
        edges = [start + (end - start) / 20 * i for i in range(21)]
        found[cpu_key] = trimmed([cpu(a, b) / (b - a) * 1000 for a, b in pairwise(edges)])

        def samples(value, edges=edges):
            sums = [[host.held(pod, t, value) for host in hosts] for t in edges[1:]]
            return [None if None in one else sum(one) / MIB for one in sums]

        found[memory_key] = trimmed(samples(lambda c: c["memory"]))
        if when == "after":
            for key, value in (
                ("working_set_mib", working_set),
                ("anon_mib", lambda c: c["anon"]),
            ):
                means = samples(value)
                found[key] = None if None in means else statistics.mean(means)
    target = [host for host in hosts if host.name == trial["target"]]
    peaks = [
        max(
            (s["containers"][name]["peak"] for s in host.samples if name in s["containers"]),
            default=None,
            key=lambda p: p or 0,
        )
        for host in target
        for name in pod
    ]
    if any(peaks):
        found["peak_mib"] = sum(p for p in peaks if p) / MIB
    return found


# ------------------------------------------------------------ statistics


@cache
def student(df):
    """The two-sided 95 % point of Student's t, by Simpson's rule on its density."""
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)

    def inside(t, n=4000):
        # x = sqrt(df) tan(u): the tails become a finite interval
        top = math.atan(t / math.sqrt(df))
        heights = [math.cos(top * i / n) ** (df - 1) for i in range(n + 1)]
        area = heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])
        return 2 * scale * math.sqrt(df) * area * top / n / 3

    low, high = 0.0, 100.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < 0.95 else (low, middle)
    return low


def interval(base, new):
    """(ratio, low, high) of new / base over pairs, low and high those of the reduction; None as in the report."""
    n, pairs = len(base), list(zip(base, new, strict=True))
    ratio_of_means = sum(new) / sum(base) if sum(base) else None
    if n >= 8:
        return (ratio_of_means, *bootstrap(pairs))
    if all(base) and all(new) and n:
        logs = [math.log(t / b) for b, t in pairs]
        centre = sum(logs) / n
        if n < 2:
            return math.exp(centre), None, None
        half = student(n - 1) * statistics.stdev(logs) / math.sqrt(n)
        return math.exp(centre), 1 - math.exp(centre + half), 1 - math.exp(centre - half)
    if n < 2 or ratio_of_means is None:
        return ratio_of_means, None, None
    return (ratio_of_means, *fieller(base, new))


def fieller(base, new):
    """Both r with (mean(new) - r mean(base))^2 = t^2 var(new - r base) / n, solved as a quadratic."""
    n, b, t = len(base), statistics.mean(base), statistics.mean(new)
    q = student(n - 1) ** 2 / n / (n - 1)
    bb = sum((x - b) ** 2 for x in base) * q
    tt = sum((y - t) ** 2 for y in new) * q
    bt = sum((x - b) * (y - t) for x, y in zip(base, new, strict=True)) * q
    a, h, c = b * b - bb, b * t - bt, t * t - tt
    if a <= 0:
        return None, None
    root = math.sqrt(max(0.0, h * h - a * c))
    return 1 - (h + root) / a, 1 - (h - root) / a


def bootstrap(pairs):
    """BCa over pairs, 10 000 resamples, seed 1."""

    def ratio(sample):
        base = sum(b for b, _ in sample)
        return sum(t for _, t in sample) / base if base else None

    estimate, n, chance = ratio(pairs), len(pairs), random.Random(1)
    if estimate is None:
        return None, None
    drawn = [ratio(chance.choices(pairs, k=n)) for _ in range(10_000)]
    found = sorted(value for value in drawn if value is not None)
    if len(found) < 9900:
        return None, None
    share = (sum(v < estimate for v in found) + sum(v == estimate for v in found) / 2) / len(found)
    left = [ratio(pairs[:i] + pairs[i + 1 :]) for i in range(n)]
    tails = [0.025, 0.975]
    if 0 < share < 1 and None not in left:
        normal, mean = statistics.NormalDist(), sum(left) / n
        square = sum((mean - v) ** 2 for v in left)
        skew = sum((mean - v) ** 3 for v in left) / (6 * square**1.5) if square else 0.0
        bias = normal.inv_cdf(share)
        moved = [bias + normal.inv_cdf(tail) for tail in tails]
        tails = [normal.cdf(bias + z / (1 - skew * z)) for z in moved]
    low, high = (found[round(tail * (len(found) - 1))] for tail in tails)
    return 1 - high, 1 - low


def judge(ratio, low, high, target):
    if ratio is None:
        return None
    if low is None:
        return "not shown"
    return "pass" if low >= target else "fail" if high < target else "not shown"


# ------------------------------------------------------------ the comparison with report.json


class Checker:
    def __init__(self):
        self.wrong, self.checked = [], 0

    def same(self, where, told, found):
        self.checked += 1
        if isinstance(told, int | float) and isinstance(found, int | float):
            if math.isclose(told, found, rel_tol=1e-6, abs_tol=2e-6):
                return
        elif told == found:
            return
        self.wrong.append(f"{where}: report.json says {told!r}, the raw files say {found!r}")


def check(run):
    """(figures that do not agree, how many were checked)."""
    report = json.loads((run / "report.json").read_text())
    checker, values = Checker(), {}
    folders = {path.parent for path in (run / "trials").glob("*/trial.json")}
    checker.same(
        "trials with a trial.json",
        len([t for t in report["trials"] if (run / t["folder"]) in folders]),
        len(folders),
    )
    for trial in report["trials"]:
        found = values_of(run / trial["folder"])
        for metric in (*COMPARED, *DESCRIBED):
            checker.same(f"trial {trial['trial']} {metric}", trial["values"][metric], found[metric])
        values[trial["pair"], trial["strategy"]] = (found, trial["clean"])
    strategies = [s for s in BASELINES if any(name == s for _, name in values)]
    check_spreads(checker, report, values, strategies)
    check_comparisons(checker, report, values, strategies)
    return checker.wrong, checker.checked


def check_spreads(checker, report, values, strategies):
    for strategy in strategies:
        for metric, told in report["strategies"][strategy]["metrics"].items():
            known = [
                v[metric]
                for (_, name), (v, _) in sorted(values.items())
                if name == strategy and v[metric] is not None
            ]
            found = {"n": len(known), "mean": None, "median": None, "stdev": None, "min": None, "max": None}
            if known:
                found |= {
                    "mean": sum(known) / len(known),
                    "median": statistics.median(known),
                    "min": min(known),
                    "max": max(known),
                }
            if len(known) > 1:
                mean = sum(known) / len(known)
                found["stdev"] = math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1))
            for key, value in found.items():
                checker.same(f"{strategy} {metric} {key}", told[key], value)


def check_comparisons(checker, report, values, strategies):
    told = {(c["metric"], c["baseline"], c["strategy"]): c for c in report["comparisons"]}
    for metric in COMPARED:
        for base, new in combinations(strategies, 2):
            entry = told.pop((metric, base, new))
            usable = [
                pair
                for pair in sorted({pair for pair, _ in values})
                if all((pair, s) in values and values[pair, s][0][metric] is not None for s in (base, new))
            ]
            clean = [pair for pair in usable if values[pair, base][1] and values[pair, new][1]]
            pairs = clean if len(clean) >= 3 else usable
            columns = [[values[pair, s][0][metric] for pair in pairs] for s in (base, new)]
            ratio, low, high = interval(*columns)
            where = f"{new} against {base}, {metric}"
            checker.same(f"{where}, pairs", entry["pairs"], pairs)
            checker.same(f"{where}, n", entry["n"], len(pairs))
            checker.same(f"{where}, ratio", entry["ratio"], ratio)
            checker.same(f"{where}, reduction", entry["reduction"], None if ratio is None else 1 - ratio)
            checker.same(f"{where}, low", entry["low"], low)
            checker.same(f"{where}, high", entry["high"], high)
            verdict = judge(ratio, low, high, report["target"]) if pairs else None
            checker.same(f"{where}, verdict", entry["verdict"], verdict)
    checker.same("comparisons that should not be there", list(told), [])


if __name__ == "__main__":
    disagreeing, count = check(Path(sys.argv[1]))
    print("\n".join(disagreeing) if disagreeing else f"all {count} figures agree with the raw files")
    sys.exit(1 if disagreeing else 0)
