"""Writes day/input.jsonl: START and END events of runs, out of order by at most ten minutes, from a fixed seed."""

import json
import os
import random
from datetime import datetime, timedelta, timezone

SEED = 20260105
RUNS = 1500
IDS = 400
DISORDER_S = 600
REUSE_S = 5 * 3600

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCH = datetime(2026, 1, 5, tzinfo=timezone.utc)


def stamp(seconds):
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def runs(rng):
    """Yields (id, start, end or None), each id again only after REUSE_S."""
    free = {f"run-{i:03d}": 0 for i in range(IDS)}
    now = 0
    for _ in range(RUNS):
        now += rng.randrange(20, 120)
        ready = [name for name, at in free.items() if at <= now]
        if not ready:
            continue
        name = rng.choice(ready)
        fate = rng.random()
        if fate < 0.08:
            end = None  # no END ever comes
        elif fate < 0.14:
            end = now + rng.randrange(4 * 3600 - 2, 5 * 3600)  # around the limit and past it
        elif fate < 0.16:
            end = now + 4 * 3600  # exactly the limit: too late
        elif fate < 0.45:
            end = now + rng.randrange(1, 400)  # short: END may come before START
        else:
            end = now + rng.randrange(60, 3 * 3600)
        yield name, now, end
        free[name] = max(now, end or now) + REUSE_S


def main():
    rng = random.Random(SEED)
    events = []
    for name, start, end in runs(rng):
        events.append((start, name, "START"))
        if rng.random() < 0.08:  # the same message again, or a second START seconds later
            # The second one differs only where no END can overtake the first, so that the earlier START always counts.
            calm = end is None or end - start > DISORDER_S + 60
            events.append((start + (rng.choice([0, 7, 30]) if calm else 0), name, "START"))
        if end is None:
            continue
        if rng.random() < 0.02:
            events.pop()  # this START is lost; an earlier copy of it may be there
        events.append((end, name, "END"))
        if rng.random() < 0.05:
            events.append((end, name, "END"))
    # Arrival is event time plus less than the disorder: no event is older than the newest one before it by more than that.
    arrivals = sorted((at + rng.random() * (DISORDER_S - 1), i) for i, (at, _, _) in enumerate(events))
    with open(os.path.join(HERE, "day", "input.jsonl"), "w") as out:
        for _, i in arrivals:
            at, name, kind = events[i]
            out.write(json.dumps({"id": name, "kind": kind, "at": stamp(at)}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
