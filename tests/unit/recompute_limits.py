"""Recomputes the figures of a notebook's limits in report.json from the journals beside it: `recompute_limits.py RUN`.

Written from docs/notebook-limits.md alone: it imports nothing of labctl, only the standard library. Exit code 0 when all agree, 1
with a list of those that do not.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from itertools import pairwise
from pathlib import Path

OUTSIDE = ("killed", "controller lost")
ERRNO = {"ENOSPC": "enospc", "EDQUOT": "enospc", "ENOMEM": "oom", "EAGAIN": "pids", "EMFILE": "fds"}
MIB = 2**20


def read(path):
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def steps_of(lines):
    """(repetition, requested, record or None) of each step, in order."""
    steps, open_ = [], None
    for line in lines:
        if line["event"] == "begin":
            if open_:
                steps.append((open_["repetition"], open_["requested"], None))
            open_ = line
        elif line["event"] == "end" and open_:
            steps.append((open_["repetition"], open_["requested"], line["record"]))
            open_ = None
    if open_:
        steps.append((open_["repetition"], open_["requested"], None))
    return steps


def cause(requested, record):
    if record is None:
        return "controller lost"
    if record["death"]:
        return record["death"]["cause"]
    if record["error"]:
        return ERRNO.get(record["error"]["errno"], str(record["error"]["errno"]).lower())
    if not record["survived"]:
        return "exit"
    return "short" if record["achieved"] < requested else None


def in_use(record):
    if record["resource"] == "memory" and record["limit"] and record["memory"]["anon"] is not None:
        return sum(record["memory"][part] or 0 for part in ("anon", "shmem", "kernel")) / record["limit"]
    return None if record["pct_of_limit"] is None else record["pct_of_limit"] / 100


def crowded(head, requested, record):
    if record is None or record["resource"] != "cpu" or cause(requested, record) or record["usage"] is None:
        return False
    limit, wanted = record["limit"], min(requested, head["capacity"].get("cpus") or requested)
    if record["usage"] < 0.95 * min(wanted, limit or wanted):
        return True
    free = record["throttled_pct"] is not None and record["throttled_pct"] < 5
    return bool(limit and free and 0.95 * wanted > limit and record["usage"] < limit / 0.95)


def shares(head, tried, number, requested, record):
    """How processes shared the processors."""
    alone = [
        r["throughput"]
        for n, amount, r in tried
        if (n, amount) == (number, 1)
        and not cause(amount, r)
        and not crowded(head, amount, r)
        and r["throughput"]
    ]
    record = record or {"throughput": None}
    told = (
        head["resource"] == "cpu" and alone and record["throughput"] and not crowded(head, requested, record)
    )
    done = record.get("per_worker_work") or []
    return {
        "slowdown_vs_1": statistics.median(alone) * requested / record["throughput"] if told else None,
        "evenness": min(done) / max(done) if done and max(done) > 0 else None,
    }


def edges(steps):
    """Last good, first bad and its cause, of one repetition's (requested, cause)."""
    ended = [amount for amount, why in steps if why in OUTSIDE]
    told = [(amount, why) for amount, why in steps if why not in OUTSIDE or ended.count(amount) >= 2]
    bad = min((amount for amount, why in told if why), default=None)
    why = next((why for amount, why in told if why and amount == bad), None)
    good = [amount for amount, why in told if not why and (bad is None or amount < bad)]
    return max(good, default=None), bad, why


def knee(points):
    """Of {processes: [(products a second, processors used)]}: the last one before one more does not pay."""
    known = [(n, *map(statistics.median, zip(*points[n], strict=True))) for n in sorted(points)]
    for (n, before, little), (m, after, much) in pairwise(known):
        gain = min(after / before, much / little) - 1
        if gain < 0.1 and gain < (m / n - 1) / 2:
            return n
    return None


def spread(values):
    if not values:
        return None
    middle = statistics.median(values)
    share = (max(values) - min(values)) / middle if len(values) > 1 else None
    return {"n": len(values), "median": middle, "low": min(values), "high": max(values), "share": share}


def recompute(lines):
    head = lines[0]
    resource, plan = head["resource"], head["plan"]
    steps = steps_of(lines)
    repetitions = []
    for number in sorted({step[0] for step in steps}):
        own = [(requested, cause(requested, record), record) for n, requested, record in steps if n == number]
        last, first, why = edges([(requested, bad) for requested, bad, _ in own])
        at_last = [in_use(record) for requested, bad, record in own if requested == last and not bad]
        points = {}
        for requested, bad, record in own:
            if not bad:
                points.setdefault(requested, [])
                if record["throughput"] is not None and not crowded(head, requested, record):
                    points[requested].append((record["throughput"], record["usage"]))
        known = {}
        for amount in sorted(points):
            if not points[amount]:
                break
            known[amount] = points[amount]
        repetitions.append(
            {
                "repetition": number,
                "steps": len(own),
                "last_good": last,
                "first_bad": first,
                "cause": why,
                "share_of_limit": at_last[-1] if at_last else None,
                "knee": knee(known) if resource == "cpu" else None,
                "ceiling": next(
                    (
                        n["why"]
                        for n in reversed(lines)
                        if n["event"] == "ceiling" and n["repetition"] == number
                    ),
                    None,
                ),
            }
        )
    goods = [one["last_good"] for one in repetitions if one["last_good"] is not None]
    bads = [one["first_bad"] for one in repetitions if one["first_bad"] is not None]
    knees = [one["knee"] for one in repetitions if one["knee"] is not None]
    shares = [one["share_of_limit"] for one in repetitions if one["share_of_limit"] is not None]
    causes = [one["cause"] for one in repetitions if one["cause"]]
    beyond = [
        record["throttled_pct"]
        for one in repetitions
        for n, requested, record in steps
        if n == one["repetition"]
        and one["knee"]
        and requested > one["knee"]
        and not cause(requested, record)
        and not crowded(head, requested, record)
    ]
    beyond = [value for value in beyond if value is not None]
    throttled = bool(knees and beyond and statistics.median(beyond) >= 5)
    last = min(goods, default=None)
    unseen = not knees and any(crowded(head, requested, record) for _, requested, record in steps)
    if last is None or unseen:
        safe = None
    elif resource == "cpu":
        safe = min([last, *knees])
    else:
        safe = max(plan["quantum"], int(last * (1 - plan["headroom"])) // plan["quantum"] * plan["quantum"])
    return {
        "resource": resource,
        "unit": plan["unit"],
        "last_good": last,
        "first_bad": min(bads, default=None),
        "cause": max(causes, key=causes.count) if causes else "throttle" if throttled else None,
        "share_of_limit": statistics.median(shares) if shares else None,
        "knee": min(knees, default=None),
        "recommended": safe,
        "headroom": plan["headroom"],
        "spread": spread(goods),
        "knee_spread": spread(knees),
        "repetitions": repetitions,
    }


def differences(told, made, where):
    if isinstance(made, dict):
        for key, value in made.items():
            yield from differences((told or {}).get(key), value, f"{where}.{key}")
    elif isinstance(made, list):
        if len(told or []) != len(made):
            yield f"{where}: {len(told or [])} entries, recomputed {len(made)}"
        for index, value in enumerate(made[: len(told or [])]):
            yield from differences(told[index], value, f"{where}[{index}]")
    elif isinstance(made, float) and isinstance(told, int | float):
        if not math.isclose(told, made, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{where}: {told}, recomputed {made}"
    elif told != made:
        yield f"{where}: {told!r}, recomputed {made!r}"


def main(run):
    report = json.loads((run / "report.json").read_text())
    journals = sorted(path for path in (run / "limits").glob("*.jsonl") if read(path))
    wrong = (
        []
        if {path.stem for path in journals} == set(report["searches"])
        else ["the searches are not the journals"]
    )
    figures = 0
    for path in journals:
        lines = read(path)
        told = report["searches"].get(path.stem) or {}
        made = recompute(lines)
        wrong += differences(told, made, path.stem)
        tried = steps_of(lines)
        steps = [
            {
                "repetition": number,
                "requested": requested,
                "good": cause(requested, record) is None,
                "cause": cause(requested, record),
                "crowded": crowded(lines[0], requested, record),
                "record": record,
                **shares(lines[0], tried, number, requested, record),
            }
            for number, requested, record in tried
        ]
        wrong += differences(told.get("steps"), steps, f"{path.stem}.steps")
        figures += len(steps)
    print("\n".join(wrong) or f"{len(journals)} searches with {figures} steps: all agree")
    return 1 if wrong or not journals else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
