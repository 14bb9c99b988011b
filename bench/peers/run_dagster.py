"""Dagster: webserver and daemon on Postgres; a process per run, the tasks of a run in it."""

import os
import sys
import time

import psycopg2

import lib

PEER = "dagster"
PORT = os.environ["PGPORT"]
WEB_PORT = "23000"
HOME = f"{lib.BASE}/homes/dagster"
PROGRAMS = f"{lib.BASE}/envs/dagster/bin"
JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dags/dagster/jobs.py")
IDLE_JOBS = 200
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
INSTANCE = f"""\
storage: {{postgres: {{postgres_url: "postgresql://postgres@127.0.0.1:{PORT}/bench"}}}}
telemetry: {{enabled: false}}
run_coordinator:
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  config: {{dequeue_interval_seconds: 1, max_concurrent_runs: 8}}
"""
os.environ.update(DAGSTER_HOME=HOME, DAGSTER_DISABLE_TELEMETRY="1")

started = []
repository = {}


def query(sql, *arguments):
    connection = psycopg2.connect(host="127.0.0.1", port=PORT, user="postgres", dbname="bench")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        rows = cursor.fetchall()
    connection.close()
    return rows


def ask(question, variables=None):
    return lib.http_json("POST", f"http://127.0.0.1:{WEB_PORT}/graphql", {"query": question, "variables": variables or {}})["data"]


def start(idle=0):
    """Gives the time until the UI answered."""
    os.environ["IDLE_JOBS"] = str(idle)
    with open(f"{HOME}/dagster.yaml", "w") as file:
        file.write(INSTANCE)
    begin = time.time()
    started.append(lib.spawn([f"{PROGRAMS}/dagster-webserver", "-h", "127.0.0.1", "-p", WEB_PORT, "-f", JOBS], "dagster-web"))
    started.append(lib.spawn([f"{PROGRAMS}/dagster-daemon", "run", "-f", JOBS], "dagster-daemon"))
    lib.wait_until("the webserver", lib.answers(f"http://127.0.0.1:{WEB_PORT}/server_info"), 120, 0.05)
    answered = time.time() - begin
    question = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
    nodes = lib.wait_until("the jobs", lambda: ask(question)["repositoriesOrError"]["nodes"], 60)
    repository.update(repositoryName=nodes[0]["name"], repositoryLocationName=nodes[0]["location"]["name"])
    time.sleep(4)  # the daemon says nowhere that it is ready
    return answered


def stop():
    lib.stop(started)
    started.clear()


def trigger(job):
    asked = time.time()
    selector = {**repository, "jobName": job}
    answer = ask(LAUNCH, {"p": {"selector": selector, "mode": "default", "runConfigData": {}}})["launchRun"]
    return answer["run"]["runId"], asked


def wait(runs, timeout=900):
    over = "select count(*) from runs where run_id = any(%s) and status in ('SUCCESS', 'FAILURE', 'CANCELED')"
    lib.wait_until("runs", lambda: query(over, runs)[0][0] == len(runs), timeout, 0.2)


def bodies(run_id):
    rows = query(
        "select min((event::json->>'timestamp')::float), max((event::json->>'timestamp')::float) from event_logs "
        "where run_id = %s and dagster_event_type in ('STEP_START', 'STEP_SUCCESS') group by step_key order by 1",
        run_id,
    )
    return [(float(start), float(end)) for start, end in rows]


def run(job):
    run_id, asked = trigger(job)
    wait([run_id])
    found = bodies(run_id)
    return (max(end for _, end in found) - asked) * 1000, found


def measure(quick):
    start()
    run("one")
    stop()
    lib.emit(PEER, "start_to_healthy_ms", start() * 1000)
    run("one")
    for name in ("light40", "chain100"):
        total, found = run(name)
        lib.emit_chain(PEER, total, found, name)
    started_after = []
    for _ in range(3 if quick else 10):
        run_id, asked = trigger("one")
        wait([run_id])
        started_after.append(bodies(run_id)[0][0] - asked)
    lib.emit(PEER, "trigger_to_start_p50_ms", lib.median_ms(started_after))
    command = [f"{PROGRAMS}/dagster", "job", "launch", "-f", JOBS, "-j", "one"]
    lib.emit(PEER, "cli_trigger_ms", lib.median_ms(lib.time_commands(command, 3)))
    if quick:
        return
    lib.emit(PEER, "fan1000_total_ms", run("fan1000")[0])
    triggered = [trigger("run5") for _ in range(200)]
    runs = [run_id for run_id, _ in triggered]
    wait(runs)
    end = query("select max(end_time) from runs where run_id = any(%s)", runs)[0][0]
    lib.emit(PEER, "runs200x5_total_ms", (float(end) - triggered[0][1]) * 1000)
    stop()
    start(IDLE_JOBS)
    lib.emit_idle(PEER, [process.pid for process in started], jobs=IDLE_JOBS)


try:
    measure("--quick" in sys.argv)
finally:
    stop()
