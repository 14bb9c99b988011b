"""Figures of peers: one JSON line each on stdout."""

import json
import multiprocessing
import statistics
import sys
import time


def say(peer, name, value, **settings):
    print(json.dumps({"peer": peer, "name": name, "value": value, "settings": settings}), flush=True)


def seconds(work, times):
    took = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def guarded(peer, work):
    """One peer that cannot be measured does not hide the others."""
    try:
        work()
    except Exception as error:  # noqa: BLE001
        print(f"{peer}: {type(error).__name__}: {error}", file=sys.stderr)


def each_alone(peers, *arguments):
    """Each in a process of its own, so that its memory is its own."""
    for peer, work in peers:
        child = multiprocessing.get_context("spawn").Process(target=guarded, args=(peer, Part(work, *arguments)))
        child.start()
        child.join()


class Part:
    """What a process of its own is given to do."""

    def __init__(self, work, *arguments):
        self.work, self.arguments = work, arguments

    def __call__(self):
        self.work(*self.arguments)
