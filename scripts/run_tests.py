#!/usr/bin/env python3
"""Runs the test binaries of the workspace side by side, and the doc tests beside them.

usage: run_tests.py [--only NAME,…] [--no-doc] -- CARGO…
    CARGO: how cargo is called up to `test`, and its packages. NAME: a package, or `package::target`.

The binaries are those that `cargo test --no-run` names. Those that take long begin first. What drives a browser
through every page or measures processes has the machine to itself, at the end. Each binary's output is printed whole when it has
ended. What tests write is in memory where there is enough of it. The last lines are the slowest binaries and tests, what failed, and one line for all.
"""

import argparse
import concurrent.futures
import contextlib
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

# Test binaries that need a machine without others: they drive a browser through every page, or measure processes.
ALONE = {"orch-attack-tests::attack", "orch-cli-tests::cli", "orch-dags::dags", "orch-scheduler::ticks", "orch-torture::faults"}
# Of those, the ones whose tests wait for processes for a quarter of their time: one thread more.
WAITING = {"orch-cli-tests::cli", "orch-dags::dags"}
# At a time, each with a thread per core. With three of them two cores were always busy, and tests that wait for others late.
SIDE_BY_SIDE = 2
THREADS = os.cpu_count()
# A binary that hangs must not hide what the others found.
PATIENCE = 7200 if "ORCH_TEST_LONG" in os.environ else 1800
TIMES = "target/test-times.json"
# In a new folder no times are recorded yet, and one of these that began late would run on alone.
LONGEST = ["orch-streams::streams", "orch-store::postgres", "orch-web::http", "orch-streams::kafka", "orch-test-lake::table"]
# Where files are kept in memory. A whole run has less than 4 GB there at a time.
MEMORY = "/dev/shm"
ENOUGH_MEMORY = 10 << 30
SLOW = 25


def built(cargo):
    """The test binaries, as (package::target, executable, folder of the package, name of the package)."""
    asked = [*cargo, "--no-run", "--message-format=json-render-diagnostics"]
    lines = subprocess.run(asked, stdout=subprocess.PIPE, check=False, text=True)
    if lines.returncode != 0:
        sys.exit(lines.returncode)
    found = []
    for line in lines.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message["executable"] or not message["profile"]["test"]:
            continue
        folder = os.path.dirname(message["manifest_path"])
        package = re.search(r"(?:#|/)([\w-]+)[@#][\d.]+$", message["package_id"]).group(1)
        found.append((f"{package}::{message['target']['name']}", message["executable"], folder, package))
    return found


def threads(name):
    return int(os.environ.get("RUST_TEST_THREADS") or THREADS + (name in WAITING))


def environment(name, folder, package):
    """What `cargo test` gives to a test binary."""
    libraries = subprocess.run(["rustc", "--print", "target-libdir"], stdout=subprocess.PIPE, text=True, check=True)
    return os.environ | {
        "CARGO": os.environ.get("CARGO", "cargo"),
        "CARGO_MANIFEST_DIR": folder,
        "CARGO_MANIFEST_PATH": os.path.join(folder, "Cargo.toml"),
        "CARGO_PKG_NAME": package,
        "LD_LIBRARY_PATH": f"{libraries.stdout.strip()}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "RUST_TEST_THREADS": str(threads(name)),
    }


def run(binary):
    name, executable, folder, package = binary
    began = time.monotonic()
    child = subprocess.Popen(
        [executable], cwd=folder, env=environment(name, folder, package), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    hung = threading.Timer(PATIENCE, child.kill)
    hung.start()
    lines, ends = [], []
    for line in child.stdout:
        lines.append(line.decode(errors="replace"))
        if test := re.match(r"test (\S+) \.\.\. (?:ok|FAILED)$", lines[-1]):
            ends.append((test[1], time.monotonic()))
    code, seconds, output = child.wait(), time.monotonic() - began, "".join(lines)
    if hung.finished.is_set():
        code = f"a kill after {PATIENCE} s"
    hung.cancel()
    print(f"\n     Running {name} ({seconds:.1f} s)\n{output}", end="", flush=True)
    tests = [(took, f"{name} {test}") for took, test in durations(began, ends, threads(name))]
    return name, seconds, code, output, tests


@contextlib.contextmanager
def memory():
    """Lets tests write into memory: making and removing the files of their databases on a disk takes a quarter of their time."""
    try:
        place = os.statvfs(MEMORY)
        with open("/proc/meminfo", encoding="utf-8") as file:
            available = int(re.search(r"^MemAvailable:\s+(\d+) kB", file.read(), re.M).group(1)) << 10
    except OSError:
        place, available = None, 0
    if not place or min(place.f_bavail * place.f_frsize, available) < ENOUGH_MEMORY:
        yield
        return
    # Short, since sockets are below it; and open to the users that servers of tests run as, as /tmp is.
    folder = tempfile.mkdtemp(prefix="orch", dir=MEMORY)
    os.chmod(folder, 0o1777)
    before = dict(os.environ)
    os.environ |= {"TMPDIR": folder, "ORCH_TEST_MEMORY": folder}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
        wait_for_servers(folder)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_servers(folder):
    """The server that tests share ends some seconds after the last of them."""
    pids = glob.glob(f"{folder}/test-postgres/*/postgres/data/postmaster.pid")
    until = time.monotonic() + 20
    while any(map(os.path.exists, pids)) and time.monotonic() < until:
        time.sleep(0.2)


def durations(began, ends, at_a_time):
    """(seconds, test) from the moments in which tests ended: libtest begins them by name, one more whenever one ends."""
    waiting = sorted(test for test, _ in ends)
    starts = {test: began for test in waiting[:at_a_time]}
    del waiting[:at_a_time]
    for _, end in ends:
        if waiting:
            starts[waiting.pop(0)] = end
    return [(end - starts.get(test, began), test) for test, end in ends]


def doc_tests(cargo):
    began = time.monotonic()
    ended = subprocess.run([*cargo, "--doc", "--no-fail-fast"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(ended.stdout, end="", flush=True)
    return "doc tests", time.monotonic() - began, ended.returncode, ended.stdout, []


def counted(output):
    """(passed, failed) of everything that libtest says there."""
    found = re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed", output, re.M)
    return sum(int(passed) for passed, _ in found), sum(int(failed) for _, failed in found)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", type=lambda names: names.split(","))
    parser.add_argument("--no-doc", action="store_true")
    parser.add_argument("cargo", nargs="+")
    asked = parser.parse_args()
    began = time.monotonic()
    binaries = built(asked.cargo)
    if asked.only:
        binaries = [one for one in binaries if one[0] in asked.only or one[3] in asked.only]
    try:
        with open(TIMES, encoding="utf-8") as file:
            times = json.load(file)
    except (OSError, ValueError):
        times = {}
    usual = {name: 1000 - place for place, name in enumerate(LONGEST)}
    binaries.sort(key=lambda binary: -times.get(binary[0], usual.get(binary[0], 0)))
    together = [binary for binary in binaries if binary[0] not in ALONE]
    alone = [binary for binary in binaries if binary[0] in ALONE]
    with memory():
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
            side_by_side = [threads.submit(run, binary) for binary in together]
            if not asked.no_doc and not asked.only:
                side_by_side.append(threads.submit(doc_tests, asked.cargo))
        ended = [one.result() for one in side_by_side] + [run(binary) for binary in alone]

    passed = failed = 0
    broken = []
    for name, seconds, code, output, _ in ended:
        times[name] = round(seconds, 1)
        counts = counted(output)
        passed, failed = passed + counts[0], failed + counts[1]
        broken += [f"{name} {test}" for test in re.findall(r"^test (.+?) \.\.\. FAILED", output, re.M)]
        if code != 0 and counts[1] == 0:
            failed += 1
            broken.append(f"{name}: ended with {code}")
    os.makedirs("target", exist_ok=True)
    with open(TIMES, "w", encoding="utf-8") as file:
        json.dump(times, file, indent=1, sort_keys=True)
    print("\n== slowest test binaries")
    for name, seconds, *_ in sorted(ended, key=lambda one: -one[1])[:SLOW]:
        print(f"   {seconds:7.1f} s  {name}")
    print("\n== slowest tests")
    for seconds, test in sorted((test for *_, tests in ended for test in tests), reverse=True)[:SLOW]:
        print(f"   {seconds:7.1f} s  {test}")
    for name in broken:
        print(f"test {name} ... FAILED")
    outcome = "FAILED" if failed else "ok"
    print(f"\ntest result: {outcome}. {passed} passed; {failed} failed; finished in {time.monotonic() - began:.1f} s")
    sys.exit(1 if failed else 0)


main()
