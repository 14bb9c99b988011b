"""One recorded case: a plan built in Airflow, played, and written down without anything of Airflow in it."""

from __future__ import annotations

from random import Random

from airflow.models.taskinstance import TaskInstance
from airflow.models.taskmap import TaskMap
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

import plans
from build import build, final_tasks, start_run, store
from drive import Drive


class RefusedError(Exception):
    """Airflow does not accept the DAG."""


def draw(rng: Random, kind: str) -> dict:
    return plans.run_plan(rng) if kind == "run" else plans.skip_plan(rng, kind)


def record(session, case_id: str, plan: dict, rng: Random) -> dict:
    # Skips by a chooser reach what waits for a worker but not what runs: record some of both.
    chooses = any(task.get("kind") for task in plan["tasks"])
    ready_is = "scheduled" if chooses and rng.random() < 0.5 else "running"
    played = {order: _play(session, f"{case_id}_{order}", plan, ready_is, order) for order in ("forward", "backward")}
    result, tasks = played["forward"]
    case = {"id": case_id, "tasks": tasks, "groups": plan["groups"]}
    case["outcomes"] = _possible_outcomes(plan, tasks)
    case["order"] = plan["order"][: len(result["executed"])]
    if chooses:
        case["ready_is"] = ready_is
    case.update(result)
    other, _ = played["backward"]
    if other != result:
        case["otherwise"] = {k: other[k] for k in ("executed", "ready", "final", "run")}
    return case


def _play(session, dag_id: str, plan: dict, ready_is: str, dep_order: str) -> tuple[dict, list[dict]]:
    try:
        authored = build(plan, dag_id)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    dag = store(authored, session)
    run = start_run(dag, session, dep_order)
    drive = Drive(
        authored=authored,
        dag=dag,
        run=run,
        outcomes=plan["outcomes"],
        list_lens={task["id"]: task["list_len"] for task in plan["tasks"] if "list_len" in task},
        order=plan["order"],
        ready_is=ready_is,
        session=session,
    )
    with _ExpansionWatch() as watch:
        result = drive.play()
    tasks = final_tasks(plan, dag)
    inside = {task["id"] for task in tasks for group in plan["groups"] if "map" in group and _is_in(task, group)}
    quirks = {
        "expanded_without_list": sorted(watch.without_list),
        "decided_as_a_whole": _whole(plan, tasks, result),
        "choice_ignored": sorted(task["id"] for task in tasks if task.get("kind") and task["id"] in inside),
    }
    if quirks := {name: ids for name, ids in quirks.items() if ids}:
        result["quirks"] = quirks
    return result, tasks


def _possible_outcomes(plan: dict, tasks: list[dict]) -> dict:
    """The scripts without those of instances that cannot exist: indexes of unmapped tasks and the reverse."""
    mapped = {
        task["id"]
        for task in tasks
        if "map" in task or any("map" in group and _is_in(task, group) for group in plan["groups"])
    }
    outcomes = {}
    for name, outcome in plan["outcomes"].items():
        task_id, index = name.rstrip("]").rsplit("[", 1)
        if (int(index) >= 0) == (task_id in mapped):
            outcomes[name] = outcome
    return outcomes


def _is_in(task: dict, group: dict) -> bool:
    return f"{task.get('group') or ''}.".startswith(f"{group['id']}.")


def _whole(plan: dict, tasks: list[dict], result: dict) -> list[str]:
    """Tasks of a mapped group that ended without elements although others of the group have them."""
    whole = []
    for group in plan["groups"]:
        if "map" in group:
            inside = [task["id"] for task in tasks if _is_in(task, group)]
            expanded = {i for i in inside if f"{i}[0]" in result["final"]}
            if expanded:
                whole += [i for i in inside if i not in expanded]
    return sorted(whole)


class _ExpansionWatch:
    """Notes the tasks that Airflow tries to expand before the list they are mapped over is there, and so fails."""

    def __enter__(self):
        self.without_list: set[str] = set()
        self.original = TaskMap.__dict__["expand_mapped_task"]
        plain = TaskMap.expand_mapped_task

        def watched(task, run_id, *, session):
            result = plain(task, run_id, session=session)
            states = session.scalars(
                select(TaskInstance.state).where(
                    TaskInstance.dag_id == task.dag_id,
                    TaskInstance.task_id == task.task_id,
                    TaskInstance.run_id == run_id,
                    TaskInstance.map_index == -1,
                )
            ).all()
            if TaskInstanceState.UPSTREAM_FAILED in states:
                self.without_list.add(task.task_id)
            return result

        TaskMap.expand_mapped_task = watched
        return self

    def __exit__(self, *_):
        TaskMap.expand_mapped_task = self.original
