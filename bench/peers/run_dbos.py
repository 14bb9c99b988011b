"""DBOS Transact: a library in the process of the application; every step is a row in Postgres. It has no server and no
UI, so nothing is started and no command line is measured; a trigger is a function call."""

import os
import sys
import time

from dbos import DBOS

import lib

PEER = "dbos"
PORT = os.environ["PGPORT"]
DBOS(
    config={
        "name": "bench",
        "system_database_url": f"postgresql://postgres@127.0.0.1:{PORT}/bench?sslmode=disable",
        "run_admin_server": False,
        "log_level": "WARNING",
    }
)
bodies = []


def fib(number):
    return number if number < 2 else fib(number - 1) + fib(number - 2)


@DBOS.step()
def light(number=0):
    start = time.time()
    if number:
        fib(number)
    bodies.append((start, time.time()))


@DBOS.workflow()
def chain(length, number=0):
    for _ in range(length):
        light(number)


@DBOS.workflow()
def leaf(number):
    return None


@DBOS.workflow()
def fan(width):
    light()
    for handle in [queue.enqueue(leaf, number) for number in range(width)]:
        handle.get_result()
    light()


def run(workflow, *arguments):
    bodies.clear()
    asked = time.time()
    DBOS.start_workflow(workflow, *arguments).get_result()
    return asked, (max(end for _, end in bodies) - asked) * 1000


def measure(quick):
    run(chain, 1)
    _, total = run(chain, 40, 10)
    lib.emit_chain(PEER, total, bodies, "light40")
    _, total = run(chain, 100)
    lib.emit_chain(PEER, total, bodies, "chain100")
    started_after = []
    for _ in range(20):
        asked, _ = run(chain, 1)
        started_after.append(bodies[0][0] - asked)
    lib.emit(PEER, "trigger_to_start_p50_ms", lib.median_ms(started_after), by="a call in the same process")
    lib.emit(PEER, "fan1000_total_ms", run(fan, 1000)[1])
    bodies.clear()
    asked = time.time()
    for handle in [DBOS.start_workflow(chain, 5) for _ in range(200)]:
        handle.get_result()
    lib.emit(PEER, "runs200x5_total_ms", (max(end for _, end in bodies) - asked) * 1000)
    if not quick:
        lib.emit_idle(PEER, [os.getpid()], 30)


DBOS.launch()
# The default looks every second.
queue = DBOS.register_queue("bench", worker_concurrency=32, polling_interval_sec=0.1)
try:
    measure("--quick" in sys.argv)
finally:
    DBOS.destroy()
