#!/usr/bin/env python3
"""Upgrades a running orch (README.md): the previous release is at work, this one migrates the database and works beside it, both
take new runs, the previous one is killed with `kill -9`, and this one carries everything to its end. Each effect is there once.

    tests/upgrade/live.py target/debug/orch target/debug/orch-cluster [ORCH_OF_THE_PREVIOUS_RELEASE]

Without the last one the commit below is built in a worktree, `target/previous`: ten minutes and more the first time. `make torture`
does all of it.
"""

import os
import pathlib
import signal
import subprocess
import sys

from make_fixture import HERE, RUNS, Release, in_a_home, wait

PREVIOUS = "f467ca96"
ROOT = HERE.parent.parent
AT_WORK = """select count(*) from task_instance t join worker w on w.id = t.worker
    where t.state = 'running' and w.state = 'running' and w.id = (select max(id) from worker)"""
LEFT = {
    "runs": "select count(*) from dag_run where state in ('queued', 'running') and dag_id like 'upgrade%'",
    "backfills": "select count(*) from backfill where completed_at is null",
    "events": "select (select count(*) from asset_queue) + (select count(*) from asset_event where not distributed)",
}


def main():
    orch, cluster = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    previous = pathlib.Path(sys.argv[3]).resolve() if len(sys.argv) > 3 else built()
    in_a_home(cluster, lambda home, url: Upgrade(previous, orch, home, url).carry_out())


def built():
    """The binary of the previous release."""
    tree = ROOT / "target" / "previous"
    if not tree.exists():
        known = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", f"{PREVIOUS}^{{commit}}"], check=False)
        if known.returncode != 0:
            sys.exit(f"error: this clone has no commit {PREVIOUS}\nhint: `git fetch --unshallow`, or name the binary of that release")
        subprocess.run(["git", "-C", ROOT, "worktree", "prune"], check=True)
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", tree, PREVIOUS], check=True)
    environment = {**os.environ, "SQLX_OFFLINE": "true", "CARGO_TARGET_DIR": str(tree / "target")}
    subprocess.run(["cargo", "build", "-p", "orch-control", "--bin", "orch"], cwd=tree, env=environment, check=True)
    return tree / "target" / "debug" / "orch"


class Upgrade(Release):
    """`self.orch` is the binary that commands are: that of the previous release at first."""

    def __init__(self, previous, orch, home, url):
        super().__init__(previous, home, url)
        self.new = orch

    def carry_out(self):
        self.prepare()
        before = self.start("before")
        after = None
        try:
            self.register()
            names = {dag: [f"run{number}" for number in range(many)] for dag, many in RUNS.items()}
            self.trigger({dag: runs[: len(runs) // 2] for dag, runs in names.items()})
            # Beside the one that works.
            self.orch = self.new
            self.run("db", "migrate")
            after = self.start("after")
            wait("two workers are there", lambda: self.ask("select count(*) from worker where state = 'running'") == "2")
            self.trigger({dag: runs[len(runs) // 2 :] for dag, runs in names.items()})
            self.backfill()
            self.wait()
            taken = self.ask(AT_WORK)
            kill(before)
            wait("all is in the hands of the new one", lambda: self.ask(AT_WORK) == "92", lambda: self.ask(AT_WORK))
            self.go_on()
            self.check(sorted((self.home / "effects").read_text(encoding="utf-8").splitlines()))
            failed = self.ask("select count(*) from dag_run where state = 'failed' and dag_id <> 'upgrade_failed'")
            assert failed == "0", f"{failed} runs have failed"
            self.run("doctor", "--verify-history")
            runs = self.ask("select count(*) from dag_run where dag_id like 'upgrade%'")
            print(f"{runs} runs went through the upgrade; the new release had {taken} of 92 tries before the kill")
        except BaseException:
            self.tell("before", "after")
            raise
        finally:
            kill(before)
            if after:
                kill(after)

    def go_on(self):
        (self.home / "hold").unlink()
        # Half an hour of waiting is over.
        self.ask("update waiting set wake_at = now() where kind is null")
        self.run("dags", "unpause", "upgrade_consumer")
        self.run("dags", "trigger", "upgrade_signal", "--run-id", "go")
        for number in range(RUNS["upgrade_approval"]):
            self.run("approvals", "answer", "upgrade_approval", "asked", f"run{number}", "Approve")

        def left():
            return {what: self.ask(statement) for what, statement in LEFT.items()}

        wait("all is over", lambda: set(left().values()) == {"0"}, left)


def kill(standalone):
    if standalone.poll() is None:
        standalone.send_signal(signal.SIGKILL)
        standalone.wait()


if __name__ == "__main__":
    main()
