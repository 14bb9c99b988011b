"""Prefect: its server on Postgres, and a process that serves the flows as deployments."""

import os
import sys
import time

import psycopg2

import lib

PEER = "prefect"
PORT = os.environ["PGPORT"]
SERVER_PORT = "24200"
API = f"http://127.0.0.1:{SERVER_PORT}/api"
PROGRAMS = f"{lib.BASE}/envs/prefect/bin"
FLOWS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dags/prefect/serve.py")
IDLE_DEPLOYMENTS = 200
os.environ.update(
    PREFECT_HOME=f"{lib.BASE}/homes/prefect",
    PREFECT_API_URL=API,
    PREFECT_SERVER_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://postgres@127.0.0.1:{PORT}/bench",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    DO_NOT_TRACK="1",
    # The default looks every ten seconds.
    PREFECT_RUNNER_POLL_FREQUENCY="1",
)

started = []
deployments = {}


def query(sql, *arguments):
    connection = psycopg2.connect(host="127.0.0.1", port=PORT, user="postgres", dbname="bench")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        rows = cursor.fetchall()
    connection.close()
    return rows


def start(count, idle=False):
    """Gives the time until the UI answered."""
    begin = time.time()
    started.append(lib.spawn([f"{PROGRAMS}/prefect", "server", "start", "--host", "127.0.0.1", "--port", SERVER_PORT], "prefect-server"))
    lib.wait_until("the server", lib.answers(f"{API}/health"), 120, 0.05)
    answered = time.time() - begin
    environment = {**os.environ, "IDLE_DEPLOYMENTS": str(count if idle else 0)}
    started.append(lib.spawn([f"{PROGRAMS}/python", FLOWS], "prefect-serve", env=environment))

    def ready():
        found = lib.http_json("POST", f"{API}/deployments/filter", {"limit": 200})
        return found if sum(1 for one in found if one.get("status") == "READY") >= count else None

    found = lib.wait_until("the deployments", ready, 240)
    flows = {flow["id"]: flow["name"] for flow in lib.http_json("POST", f"{API}/flows/filter", {"limit": 200})}
    deployments.update({flows[one["flow_id"]]: one["id"] for one in found})
    return answered


def stop():
    lib.stop(started)
    started.clear()


def trigger(flow):
    asked = time.time()
    answer = lib.http_json("POST", f"{API}/deployments/{deployments[flow]}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    return answer["id"], asked


def wait(runs, timeout=600):
    over = "select count(*) from flow_run where id = any(%s::uuid[]) and state_type in ('COMPLETED', 'FAILED', 'CRASHED')"
    lib.wait_until("flow runs", lambda: query(over, runs)[0][0] == len(runs), timeout, 0.2)


def bodies(runs, count):
    """The server writes task runs some time after they ended."""

    def rows():
        found = query(
            "select extract(epoch from start_time), extract(epoch from end_time) from task_run "
            "where flow_run_id = any(%s::uuid[]) and end_time is not null order by 1",
            runs,
        )
        return [(float(start), float(end)) for start, end in found] if len(found) >= count else None

    return lib.wait_until("task runs", rows, 120, 0.3)


def run(flow, tasks):
    run_id, asked = trigger(flow)
    wait([run_id])
    found = bodies([run_id], tasks)
    return (max(end for _, end in found) - asked) * 1000, found


def measure(quick):
    start(5)
    run("one", 1)
    stop()
    lib.emit(PEER, "start_to_healthy_ms", start(5) * 1000)
    run("one", 1)
    for name, tasks in (("light40", 40), ("chain100", 100)):
        total, found = run(name, tasks)
        lib.emit_chain(PEER, total, found, name)
    started_after = []
    for _ in range(5 if quick else 20):
        run_id, asked = trigger("one")
        wait([run_id])
        started_after.append(bodies([run_id], 1)[0][0] - asked)
    lib.emit(PEER, "trigger_to_start_p50_ms", lib.median_ms(started_after))
    command = [f"{PROGRAMS}/prefect", "deployment", "run", "one/bench"]
    lib.emit(PEER, "cli_trigger_ms", lib.median_ms(lib.time_commands(command, 5, 4)))
    if quick:
        return
    lib.emit(PEER, "fan1000_total_ms", run("fan1000", 1002)[0])
    triggered = [trigger("run5") for _ in range(200)]
    runs = [run_id for run_id, _ in triggered]
    wait(runs, 1200)
    end = query("select extract(epoch from max(end_time)) from flow_run where id = any(%s::uuid[])", runs)[0][0]
    lib.emit(PEER, "runs200x5_total_ms", (float(end) - triggered[0][1]) * 1000)
    stop()
    start(IDLE_DEPLOYMENTS, idle=True)
    lib.emit_idle(PEER, [process.pid for process in started], deployments=IDLE_DEPLOYMENTS)


try:
    measure("--quick" in sys.argv)
finally:
    stop()
