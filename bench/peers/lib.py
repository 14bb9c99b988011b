"""What the peers' scripts share: figures under the names of orch's rows, processes, HTTP. Standard library only."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

BASE = os.environ["ORCH_PEERS"]
# So that a terminated script still stops what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

UNITS = {"ms": "ms", "mb": "MB", "percent": "%", "s": "1/s"}


def emit(peer, name, value, **detail):
    """One figure: a line on stdout, which `peers.sh` keeps."""
    row = {"peer": peer, "name": name, "value": round(value, 3), "unit": UNITS[name.rsplit("_", 1)[1]], "settings": detail}
    print(json.dumps(row), flush=True)


def percentile(sample, share):
    ordered = sorted(sample)
    return ordered[round(share * (len(ordered) - 1))]


def emit_chain(peer, total_ms, bodies, name, **detail):
    """`bodies` are (start, end) in seconds; for light40 the total counts, for chain100 the gaps."""
    if name == "light40":
        emit(peer, "light40_total_ms", total_ms, **detail)
        return
    bodies = sorted(bodies)
    gaps = [(later[0] - earlier[1]) * 1000 for earlier, later in zip(bodies, bodies[1:])]
    emit(peer, "chain100_gap_p50_ms", percentile(gaps, 0.5), **detail)
    emit(peer, "chain100_gap_p95_ms", percentile(gaps, 0.95), **detail)


def median_ms(seconds):
    return statistics.median(seconds) * 1000


def processes(roots):
    """Processes and all they started."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        if pid not in found and os.path.exists(f"/proc/{pid}"):
            found.append(pid)
            todo += children.get(pid, [])
    return found


def proportional_memory_mb(roots):
    """Shared pages are counted once: forked workers share most of theirs."""
    kilobytes = 0
    for pid in processes(roots):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                kilobytes += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return kilobytes / 1024


def cpu_seconds(roots):
    ticks = 0
    for pid in processes(roots):
        try:
            with open(f"/proc/{pid}/stat") as file:
                # Own time and that of children that ended.
                ticks += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:15]))
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def emit_idle(peer, roots, seconds=60, **detail):
    time.sleep(15)
    before, start = cpu_seconds(roots), time.time()
    time.sleep(seconds)
    busy = (cpu_seconds(roots) - before) / (time.time() - start)
    emit(peer, "idle_rss_mb", proportional_memory_mb(roots), proportional=True, **detail)
    emit(peer, "idle_cpu_percent", busy * 100, **detail)


def spawn(command, log, **options):
    with open(f"{BASE}/logs/{log}.log", "ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True, **options)


def stop(started, patience=20):
    everything = processes([process.pid for process in started])
    for process in started:
        process.terminate()
    end = time.time() + patience
    for process in started:
        try:
            process.wait(max(0.1, end - time.time()))
        except subprocess.TimeoutExpired:
            pass
    for pid in everything:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def http(method, url, body=None, headers=None, timeout=60):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read()


def http_json(method, url, body=None, headers=None):
    return json.loads(http(method, url, body, headers))


def wait_until(what, condition, timeout, interval=0.1):
    """Waits for something true and gives it."""
    end = time.time() + timeout
    while True:
        try:
            answer = condition()
        except (OSError, ValueError, KeyError):
            answer = None  # not up yet
        if answer:
            return answer
        if time.time() > end:
            raise SystemExit(f"{what}: not within {timeout} s")
        time.sleep(interval)


def answers(url):
    return lambda: http("GET", url, timeout=5) is not None


def time_commands(command, times, pause=0.0):
    """Whole processes, in seconds."""
    took = []
    for _ in range(times):
        start = time.time()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        took.append(time.time() - start)
        time.sleep(pause)
    return took
