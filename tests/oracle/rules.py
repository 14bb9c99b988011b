"""Asks Airflow's `TriggerRuleDep` for a decision on every grid point of upstream states.

One DAG for each shape; its instances are set to a grid point's states in the session, the dependency is asked, and the
session is rolled back.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement, product

from airflow.models.taskinstance import TaskInstance
from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import select

from build import build, start_run, store
from plans import RULES

# The order of the letters is the order inside a multiset's key.
LETTERS = {
    "-": None,
    "s": TaskInstanceState.SUCCESS,
    "f": TaskInstanceState.FAILED,
    "k": TaskInstanceState.SKIPPED,
    "u": TaskInstanceState.UPSTREAM_FAILED,
    "r": TaskInstanceState.REMOVED,
}
MAX_UPSTREAMS = 4
ELEMENTS = 3


def record(session) -> dict:
    ask = _Asker(session)
    return {
        "letters": {letter: state and state.value for letter, state in LETTERS.items()},
        "work": {rule: _work(ask, rule) for rule in RULES},
        "setup_among_upstreams": {rule: _setup_among_upstreams(ask, rule) for rule in RULES},
        "setups_behind": {rule: _setups_behind(ask, rule) for rule in RULES},
        "teardown": _teardown(ask),
        "elements": {rule: _elements(ask, rule) for rule in RULES},
    }


def summary(body: dict) -> dict:
    cells = {}
    for section in ("work", "setup_among_upstreams", "setups_behind", "elements"):
        cells[section] = sum(len(rows) for rows in body[section].values())
    cells["teardown"] = len(body["teardown"])
    by_rule: dict[str, Counter] = {rule: Counter() for rule in RULES}
    for section in ("work", "setup_among_upstreams", "setups_behind", "elements"):
        for rule, rows in body[section].items():
            for decision in rows.values():
                by_rule[rule].update(decision if isinstance(decision, list) else [decision])
    by_rule["(teardown)"] = Counter(body["teardown"].values())
    return {"decisions": cells, "decisions by rule": {rule: dict(sorted(c.items())) for rule, c in by_rule.items()}}


def _task(task_id: str, needs=(), rule: str = "all_success", **more) -> dict:
    return {"id": task_id, "needs": list(needs), "rule": rule, **more}


def _teardown_of(task_id: str, setups, needs=()) -> dict:
    return _task(task_id, needs, role="teardown", setups=list(setups), on_failure_fail_run=False)


def _multisets(size: int):
    return ("".join(letters) for letters in combinations_with_replacement(LETTERS, size))


def _work(ask: _Asker, rule: str) -> dict:
    rows = {}
    for size in range(1, MAX_UPSTREAMS + 1):
        upstreams = [f"u{n}" for n in range(size)]
        target = ask.about([_task(u) for u in upstreams] + [_task("target", upstreams, rule)])
        for letters in _multisets(size):
            rows[letters] = target(dict(zip(upstreams, letters)))
    return rows


def _setup_among_upstreams(ask: _Asker, rule: str) -> dict:
    """`S|WWW`: the first upstream is a setup (of a teardown behind the target), the others are work."""
    rows = {}
    for size in range(MAX_UPSTREAMS):
        upstreams = [f"u{n}" for n in range(size)]
        tasks = [_task("setup", role="setup"), *(_task(u) for u in upstreams)]
        tasks += [_task("target", ["setup", *upstreams], rule), _teardown_of("teardown", ["setup"], ["target"])]
        target = ask.about(tasks)
        for setup in LETTERS:
            for letters in _multisets(size):
                rows[f"{setup}|{letters}"] = target({"setup": setup, **dict(zip(upstreams, letters))})
    return rows


def _setups_behind(ask: _Asker, rule: str) -> dict:
    """`SS|W`: setups two steps up whose teardown is behind the target, and the one direct work upstream."""
    rows = {}
    for size in (1, 2):
        setups = [f"setup{n}" for n in range(size)]
        tasks = [_task(s, role="setup") for s in setups]
        tasks += [_task("between", setups), _task("target", ["between"], rule)]
        target = ask.about([*tasks, _teardown_of("teardown", setups, ["target"])])
        for letters, between in product(_multisets(size), LETTERS):
            rows[f"{letters}|{between}"] = target({**dict(zip(setups, letters)), "between": between})
    return rows


def _teardown(ask: _Asker) -> dict:
    """`setup, early, late, other`: setup >> early >> late >> teardown, setup >> teardown, other >> late.

    `early` is between setup and teardown without being a direct upstream (the scope rule waits for it); `other` is not
    behind the setup and so out of scope.
    """
    names = ("setup", "early", "late", "other")
    tasks = [_task("setup", role="setup"), _task("early", ["setup"]), _task("other"), _task("late", ["early", "other"])]
    target = ask.about([*tasks, _teardown_of("target", ["setup"], ["late"])])
    return {"".join(letters): target(dict(zip(names, letters))) for letters in product(LETTERS, repeat=4)}


def _elements(ask: _Asker, rule: str) -> dict:
    """The decision on each element of a mapped task (3 of 3) below the three elements of another mapped task."""
    if rule == "always":
        return {}  # Not allowed with a map in the TaskFlow API, and decided without a look at anything.
    tasks = [_task("source", map={"literal": ELEMENTS}), _task("target", ["source"], rule, map={"literal": ELEMENTS})]
    targets = [ask.about(tasks, index) for index in range(ELEMENTS)]
    rows = {}
    for letters in _multisets(ELEMENTS):
        states = {("source", index): letter for index, letter in enumerate(letters)}
        rows[letters] = [target(states) for target in targets]
    return rows


class _Asker:
    def __init__(self, session):
        self.session = session
        self.made = 0

    def about(self, tasks: list[dict], map_index: int = -1):
        """Stores a DAG with a task `target`; the answer maps upstream letters to a decision."""
        session = self.session
        dag_id = f"rules_{self.made}"
        self.made += 1
        # Not `validate`d: Airflow refuses most rules right behind a setup, but its decision is defined.
        dag = store(build({"tasks": tasks}, dag_id, validate=False), session)
        run = start_run(dag, session)
        run.dag = dag
        instances = {
            (ti.task_id, ti.map_index): ti
            for ti in session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag_id))
        }
        for ti in instances.values():
            ti.task = dag.get_task(ti.task_id)
        target = instances["target", map_index]

        def decide(letters: dict) -> str:
            for name, letter in letters.items():
                instance = name if isinstance(name, tuple) else (name, -1)
                instances[instance].state = LETTERS[letter]
            finished = [ti for ti in instances.values() if ti.state in State.finished]
            context = DepContext(flag_upstream_failed=True, finished_tis=finished)
            statuses = list(TriggerRuleDep().get_dep_statuses(target, context, session=session))
            state, passed = target.state, all(status.passed for status in statuses)
            session.rollback()
            for ti in instances.values():
                ti.task = dag.get_task(ti.task_id)
            if state is not None:
                # What it sets and passes at the same time is set: the scheduler no longer schedules it.
                return state.value
            return "run" if passed else "wait"

        return decide
