"""Writes day/expected.jsonl from day/input.jsonl.

A model that shares nothing with the functions: it sorts each id's events by event time and walks them once, with no timers, watermarks or waiting ENDs.
On input whose duplicates are exact, or that no END overtakes, both must come to the same rows.
"""

import json
import os
from collections import defaultdict
from datetime import datetime, timezone

LIMIT_S = 4 * 3600
HERE = os.path.dirname(os.path.abspath(__file__))


def parse(text):
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp())


def stamp(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def done(name, start, end):
    return {"@output": "out", "id": name, "start": stamp(start), "end": stamp(end), "seconds": end - start}


def gave_up(name, start):
    return {"@output": "gave_up", "id": name, "start": stamp(start)}


def walk(name, events):
    """Yields the rows of one id, whose distinct events come in order of event time."""
    open_at = None
    for at, kind in events:
        if open_at is not None and at - open_at >= LIMIT_S:
            yield gave_up(name, open_at)
            open_at = None
        if kind == "START" and open_at is None:
            open_at = at
        elif kind == "END" and open_at is not None:
            yield done(name, open_at, at)
            open_at = None
    if open_at is not None:
        yield gave_up(name, open_at)


def main():
    by_id = defaultdict(set)
    with open(os.path.join(HERE, "day", "input.jsonl")) as lines:
        for line in lines:
            event = json.loads(line)
            by_id[event["id"]].add((parse(event["at"]), event["kind"]))
    with open(os.path.join(HERE, "day", "expected.jsonl"), "w") as out:
        for name in sorted(by_id):
            for row in walk(name, sorted(by_id[name])):
                out.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
