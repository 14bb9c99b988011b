"""Apache Airflow: scheduler, DAG processor, API server and triggerer with the LocalExecutor, tuned for speed."""

import os
import subprocess
import sys
import time

import psycopg2

import lib

PEER = "airflow"
PORT = os.environ["PGPORT"]
API_PORT = "28080"
API = f"http://127.0.0.1:{API_PORT}"
AIRFLOW = f"{lib.BASE}/envs/airflow/bin/airflow"
HOME = f"{lib.BASE}/homes/airflow"
DAGS = f"{HOME}/dags"
IDLE_DAGS = 200
IDLE_DAG = """\
from datetime import datetime
from airflow.sdk import DAG, chain
from airflow.providers.standard.operators.python import PythonOperator

def noop():
    return None

with DAG("{dag_id}", schedule="0 3 1 1 *", start_date=datetime(2026, 11, 20), catchup=False, is_paused_upon_creation=False):
    chain(*[PythonOperator(task_id=f"t{{k}}", python_callable=noop) for k in range(5)])
"""
SETTINGS = {
    "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres@127.0.0.1:{PORT}/bench",
    "CORE__EXECUTOR": "LocalExecutor",
    "CORE__DAGS_FOLDER": DAGS,
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__PARALLELISM": "32",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": "1000",
    "CORE__MAX_ACTIVE_RUNS_PER_DAG": "1000",
    "CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "1000",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "CORE__MAX_MAP_LENGTH": "2000",
    "CORE__EXECUTION_API_SERVER_URL": f"{API}/execution/",
    "CORE__INTERNAL_API_SECRET_KEY": "bench",
    "API_AUTH__JWT_SECRET": "bench-secret-" * 8,
    "API__HOST": "127.0.0.1",
    "API__PORT": API_PORT,
    "API__BASE_URL": API,
    "API__WORKERS": "1",
    # The defaults wait longer between two looks.
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "SCHEDULER__MAX_TIS_PER_QUERY": "64",
    "SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "100",
    "SCHEDULER__MAX_DAGRUNS_TO_CREATE_PER_LOOP": "100",
}
ENVIRONMENT = {**os.environ, "AIRFLOW_HOME": HOME, **{f"AIRFLOW__{key}": value for key, value in SETTINGS.items()}}
ENVIRONMENT["PATH"] = f"{lib.BASE}/envs/airflow/bin:{ENVIRONMENT['PATH']}"
os.environ.update(ENVIRONMENT)

started = []
headers = {}


def query(sql, *arguments):
    connection = psycopg2.connect(host="127.0.0.1", port=PORT, user="postgres", dbname="bench")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        rows = cursor.fetchall()
    connection.close()
    return rows


def start(dags):
    """Gives the time until the UI answered."""
    begin = time.time()
    for role in ("api-server", "scheduler", "dag-processor", "triggerer"):
        started.append(lib.spawn([AIRFLOW, role], f"airflow-{role}"))
    lib.wait_until("the API server", lib.answers(f"{API}/"), 120, 0.05)
    answered = time.time() - begin
    lib.wait_until("the DAGs", lambda: query("select count(*) from serialized_dag")[0][0] >= dags, 300, 0.2)
    headers["Authorization"] = "Bearer " + lib.http_json("GET", f"{API}/auth/token")["access_token"]
    return answered


def stop():
    lib.stop(started)
    started.clear()


def trigger(dag_id):
    asked = time.time()
    answer = lib.http_json("POST", f"{API}/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None}, headers)
    return answer["dag_run_id"], asked


def wait(dag_id, runs, timeout=600):
    over = "select count(*) from dag_run where dag_id = %s and run_id = any(%s) and state in ('success', 'failed')"
    lib.wait_until(dag_id, lambda: query(over, dag_id, runs)[0][0] == len(runs), timeout, 0.2)


def bodies(dag_id, runs):
    rows = query(
        "select extract(epoch from start_date), extract(epoch from end_date) from task_instance "
        "where dag_id = %s and run_id = any(%s) and end_date is not null order by 1",
        dag_id,
        runs,
    )
    return [(float(start), float(end)) for start, end in rows]


def run(dag_id):
    run_id, asked = trigger(dag_id)
    wait(dag_id, [run_id])
    found = bodies(dag_id, [run_id])
    return (max(end for _, end in found) - asked) * 1000, found


def measure(quick):
    subprocess.run([AIRFLOW, "db", "migrate"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    start(5)
    run("one")
    stop()
    lib.emit(PEER, "start_to_healthy_ms", start(5) * 1000)
    run("one")
    for name in ("light40", "chain100"):
        total, found = run(name)
        lib.emit_chain(PEER, total, found, name)
    started_after = []
    for _ in range(5 if quick else 20):
        run_id, asked = trigger("one")
        wait("one", [run_id])
        started_after.append(bodies("one", [run_id])[0][0] - asked)
    lib.emit(PEER, "trigger_to_start_p50_ms", lib.median_ms(started_after))
    lib.emit(PEER, "cli_trigger_ms", lib.median_ms(lib.time_commands([AIRFLOW, "dags", "trigger", "one"], 5, 1)))
    if quick:
        return
    lib.emit(PEER, "fan1000_total_ms", run("fan1000")[0])
    triggered = [trigger("run5") for _ in range(200)]
    runs = [run_id for run_id, _ in triggered]
    wait("run5", runs)
    lib.emit(PEER, "runs200x5_total_ms", (max(end for _, end in bodies("run5", runs)) - triggered[0][1]) * 1000)
    stop()
    for number in range(IDLE_DAGS):
        with open(f"{DAGS}/idle_{number:03d}.py", "w") as file:
            file.write(IDLE_DAG.format(dag_id=f"idle_{number:03d}"))
    start(5 + IDLE_DAGS)
    lib.emit_idle(PEER, [process.pid for process in started], dags=IDLE_DAGS)


try:
    measure("--quick" in sys.argv)
finally:
    stop()
