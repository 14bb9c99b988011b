#!/usr/bin/env python3
"""Writes the fixture of a release: its database with runs in flight, at the moment at which it was killed (README.md).

    tests/upgrade/make_fixture.py target/debug/orch target/debug/orch-cluster

The first is the binary of the release, the second makes a private Postgres (any build of this repository). pg_dump and psql have
to be on the path. Writes `version-N.sql.gz` and `version-N.effects` beside itself; N is the schema's version.
"""

import gzip
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
# Runs that are made of each DAG. Those of the backfill come from its dates, those of the consumer from its asset.
RUNS = {
    "upgrade_queue": 40,
    "upgrade_work": 50,
    "upgrade_retry": 30,
    "upgrade_sensor": 25,
    "upgrade_map": 15,
    "upgrade_pool": 25,
    "upgrade_approval": 12,
    "upgrade_producer": 5,
    "upgrade_over": 10,
    "upgrade_failed": 4,
}
# What has to be so before the kill: a statement, and what it says then.
STATES = {
    "runs at work": ("select count(*) from dag_run where state = 'running' and dag_id like 'upgrade%'", 2 + 50 + 30 + 25 + 15 + 25 + 12 + 5 + 3),
    "runs that wait for their place": ("select count(*) from dag_run where state = 'queued' and dag_id like 'upgrade%'", 38),
    "tries at work": ("select count(*) from task_instance where state = 'running'", 2 + 50 + 15 * 2 + 2 + 5 + 3),
    "tries at a gate": ("select count(*) from ready where queue < 0", 23),
    "retries": ("select count(*) from waiting where state = 'up_for_retry'", 30),
    "sensors": ("select count(*) from waiting where state = 'deferred'", 50),
    "questions": ("select count(*) from waiting where kind = 'answer'", 12),
    "dates that are planned": ("select count(*) from backfill_run where state = 'planned'", 17),
    "events that are queued": ("select count(*) from asset_queue", 2),
    "alerts that were not taken": ("select count(*) from alert where state = 'waiting'", 30 + 12 + 10 + 4),
    "deadlines": ("select count(*) from deadline where state = 'open'", 50),
    "runs that are over": ("select count(*) from dag_run where state in ('success', 'failed') and dag_id like 'upgrade%'", 2 + 10 + 4),
}
PATIENCE = 120


def main():
    orch, cluster = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    in_a_home(cluster, lambda home, url: Release(orch, home, url).write())


def in_a_home(cluster, work):
    """In a folder of its own, with a Postgres of its own."""
    with tempfile.TemporaryDirectory(prefix="orch-upgrade-") as name:
        home = pathlib.Path(name)
        (home / "hold").touch()
        (home / "effects").touch()
        server = subprocess.Popen([cluster, home / "postgres"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            work(home, server.stdout.readline().strip())
        finally:
            server.stdin.close()
            server.wait()


class Release:
    def __init__(self, orch, home, url):
        self.orch, self.home, self.url = orch, home, url
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCH_")}
        self.environment = {
            **kept,
            "HOME": str(home),
            "ORCH_DATA_DIR": str(home / "data"),
            "ORCH_DATABASE_URL": url,
            # A bundle beside the binary would take tasks too.
            "ORCH_BUNDLE": str(home / "no-bundle"),
            # Nothing listens there: what is to be told stays to be told.
            "ORCH_CONN_UPGRADE_CHAT": '{"conn_type": "webhook", "host": "http://127.0.0.1:9"}',
        }

    def write(self):
        self.prepare()
        standalone = self.start("release")
        try:
            self.register()
            self.trigger({dag: [f"run{number}" for number in range(many)] for dag, many in RUNS.items()})
            self.backfill()
            self.wait()
        except BaseException:
            self.tell("release")
            raise
        finally:
            standalone.send_signal(signal.SIGKILL)
            standalone.wait()
        self.wait_for_tasks_to_be_gone()
        effects = sorted((self.home / "effects").read_text(encoding="utf-8").splitlines())
        self.check(effects)
        version = self.ask("select version from schema_guard")
        (HERE / f"version-{version}.effects").write_text("".join(line + "\n" for line in effects), encoding="utf-8")
        with gzip.GzipFile(HERE / f"version-{version}.sql.gz", "wb", mtime=0) as file:
            file.write(self.dump().encode())
        print(f"{version}: {len(effects)} effects, {self.ask('select count(*) from dag_run')} runs")

    def prepare(self):
        self.run("db", "migrate")
        self.run("pools", "set", "upgrade_pool", "2", "two at a time")

    def start(self, name):
        arguments = ["standalone", "--port", "0", "--log", "error", "--dags-folder", HERE / "dags"]
        environment = {**self.environment, "ORCH_DATA_DIR": str(self.home / name)}
        with open(self.home / f"{name}.log", "w", encoding="utf-8") as log:
            return subprocess.Popen([self.orch, *arguments], env=environment, stdout=log, stderr=log)

    def tell(self, *names):
        for name in names:
            log = self.home / f"{name}.log"
            print(log.read_text(encoding="utf-8")[-4000:] if log.exists() else "", file=sys.stderr)

    def register(self):
        wait("the DAG files are registered", lambda: self.ask("select count(*) from dag where dag_id like 'upgrade%'") == "13")
        self.run("dags", "unpause", "--treat-dag-id-as-regex", "upgrade_.*", "--yes")
        self.run("dags", "pause", "upgrade_consumer")
        for name in ["done1", "done2"]:
            self.run("dags", "trigger", "upgrade_producer", "--run-id", name)

    def trigger(self, runs):
        for dag, names in runs.items():
            for name in names:
                self.run("dags", "trigger", dag, "--run-id", name)

    def backfill(self):
        dates = ["--from-date", "2026-01-01", "--to-date", "2026-01-20", "--step", "daily"]
        self.run("backfill", "create", "--dag-id", "upgrade_backfill", *dates, "--max-active-runs", "3")

    def wait(self):
        seen = {}

        def is_so():
            seen.update({name: self.ask(statement) for name, (statement, _) in STATES.items()})
            return all(seen[name] == str(expected) for name, (_, expected) in STATES.items())

        def missing():
            return {name: (seen[name], expected) for name, (_, expected) in STATES.items() if seen[name] != str(expected)}

        wait("everything is in flight", is_so, missing)

    def wait_for_tasks_to_be_gone(self):
        """What the killed worker had started ends with it; one that went on could leave an effect of later."""

        def is_so():
            return not any(is_a_task(process, self.home) for process in pathlib.Path("/proc").glob("[0-9]*"))

        wait("the tasks are gone", is_so)

    def check(self, effects):
        """A task that had left its effect and was killed before that was recorded would leave it again, rightly."""
        assert len(set(effects)) == len(effects), "an effect is there twice"
        recorded = self.ask(
            "select count(*) from task_instance t join dag_run r on r.id = t.run join dag_version v on v.id = r.version"
            " where r.dag_id like 'upgrade%' and t.state = 'success' and v.spec -> 'tasks' -> t.task::integer ->> 'task_id' not in ('list', 'signal', 'later', 'asked')"
        )
        assert recorded == str(len(effects)), f"{len(effects)} effects, {recorded} recorded: make it again"

    def dump(self):
        # As statements that any client can send. `\restrict` is for psql alone.
        text = subprocess.run(
            ["pg_dump", "--inserts", "--rows-per-insert=200", "--no-owner", "--no-privileges", self.url],
            capture_output=True, text=True, check=True,
        ).stdout
        return re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.M)

    def run(self, *arguments):
        done = subprocess.run([self.orch, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"

    def ask(self, statement):
        return subprocess.run(
            ["psql", self.url, "-At", "-c", statement], capture_output=True, text=True, check=True
        ).stdout.strip()


def is_a_task(process, home):
    """A program that runs with that home and is no server of the fixture's own."""
    try:
        environment = (process / "environ").read_bytes().decode(errors="replace")
        return f"HOME={home}\0" in environment and (process / "comm").read_text().strip() in ["bash", "sleep"]
    except OSError:
        return False


def wait(what, is_so, missing=lambda: ""):
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, f"never: {what} {missing()}"
        time.sleep(0.2)


if __name__ == "__main__":
    main()
