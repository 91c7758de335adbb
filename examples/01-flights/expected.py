"""Writes the expected alerts: data/expected.jsonl for all flights, and testdata/february/ (input and expected) for nine days of them.

A model that shares nothing with the function: it looks at all late departures of an origin at once and cuts them into episodes.
"""

import gzip
import json
import os
from collections import defaultdict
from datetime import datetime, timedelta, timezone

HERE = os.path.dirname(os.path.abspath(__file__))
HOUR = timedelta(minutes=60)
LATE_MINUTES = 30
FROM, TO = "2001-02-20", "2001-03-01"


def parse(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def stamp(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def episodes(late):
    """Cuts late departures, in order, wherever an hour or more lies between two."""
    episode = []
    for flight in late:
        if episode and flight[0] - episode[-1][0] >= HOUR:
            yield episode
            episode = []
        episode.append(flight)
    if episode:
        yield episode


def alerts(lines):
    by_origin = defaultdict(list)
    for line in lines:
        flight = json.loads(line)
        if flight["delay"] > LATE_MINUTES:
            by_origin[flight["origin"]].append((parse(flight["departure"]), flight["delay"]))
    for origin in sorted(by_origin):
        for episode in episodes(by_origin[origin]):
            for i in range(2, len(episode)):
                three = episode[i - 2 : i + 1]
                if three[2][0] - three[0][0] < HOUR:
                    yield {
                        "origin": origin,
                        "departure": stamp(three[2][0]),
                        "first": stamp(three[0][0]),
                        "worst_delay": max(delay for _, delay in three),
                    }
                    break


def write(path, lines):
    with open(os.path.join(HERE, path), "w") as out:
        for line in lines:
            out.write(line if isinstance(line, str) else json.dumps(line, separators=(",", ":")) + "\n")


def main():
    with gzip.open(os.path.join(HERE, "data", "flights-20k.jsonl.gz"), "rt") as data:
        flights = list(data)
    days = [line for line in flights if FROM <= json.loads(line)["departure"] < TO]
    write("data/expected.jsonl", alerts(flights))
    write("testdata/february/input.jsonl", days)
    write("testdata/february/expected.jsonl", alerts(days))


if __name__ == "__main__":
    main()
