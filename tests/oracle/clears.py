"""Clears in finished runs, as Airflow's API server decides them, and what then runs again."""

from __future__ import annotations

from random import Random

from airflow.api_fastapi.core_api.datamodels.task_instances import ClearTaskInstancesBody
from airflow.api_fastapi.core_api.routes.public.task_instances import post_clear_task_instances
from airflow.models.dagbag import DBDagBag
from airflow.utils.state import DagRunState

import plans
from build import DEP_ORDERS, RUN_ID, build, final_tasks, start_run, store
from cases import RefusedError, _ExpansionWatch, _possible_outcomes, _whole
from drive import FINISHED_RUN, Drive


def record(session, case_id: str, rng: Random) -> dict:
    """A run that is played to its end, a clear of some of its instances, and the same run played to its end again."""
    while True:
        plan = plans.clear_plan(rng)
        wish_draws = [rng.random() for _ in range(12)]
        try:
            played = [_play(session, f"{case_id}_{order}", plan, wish_draws, order) for order in DEP_ORDERS]
        except AttributeError:
            # Airflow 3.3.2 cannot build the response for some mapped operators (`no attribute 'doc'`).
            session.rollback()
            continue
        # The order in which Airflow asks its dependencies differs from process to process.
        if played[0] is not None and played[0] == played[1]:
            return {"id": case_id, **played[0]}


def _play(session, dag_id: str, plan: dict, draws: list[float], dep_order: str) -> dict | None:
    dag_id = f"{dag_id}_{session.info.setdefault('dags', 0)}"
    session.info["dags"] += 1
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
        ready_is="running",
        session=session,
    )
    tasks = final_tasks(plan, dag)
    with _ExpansionWatch() as watch:
        first = drive.play()
        if watch.without_list or _whole(plan, tasks, first) or first["run"] not in map(str, FINISHED_RUN):
            return None
        if None in first["final"].values() or "removed" in first["final"].values():
            return None
        if _maps_over_failures(tasks, plan["groups"], first["final"]):
            return None
        wish = _draw_wish(plan, first["final"], draws)
        cleared = _clear(session, dag_id, wish, dry_run=True)
        case = {
            "tasks": tasks,
            "groups": plan["groups"],
            "outcomes": _possible_outcomes(plan, tasks),
            "order": plan["order"],
            **first,
            "clear": wish,
            "cleared": cleared,
        }
        if not cleared:
            return case
        assert _clear(session, dag_id, wish, dry_run=False) == cleared
        session.expire_all()
        run.state = DagRunState.RUNNING
        session.commit()
        drive.executed, drive.ready_counts, drive.outcomes = [], [], plan["again"]
        again = drive.play()
    if watch.without_list or None in again["final"].values() or "removed" in again["final"].values():
        return None
    if _maps_over_failures(tasks, plan["groups"], again["final"]):
        return None
    case["again"] = {"outcomes": _possible_outcomes({**plan, "outcomes": plan["again"]}, tasks), **again}
    return case


def _maps_over_failures(tasks: list[dict], groups: list[dict], final: dict) -> bool:
    """Elements without a value close up in Airflow and keep their index in orch: such runs are compared elsewhere."""
    mapped = {task["id"] for task in tasks if "map" in task}
    over = {entry["map"]["over"] for entry in [*tasks, *groups] if "over" in entry.get("map", {})} & mapped
    return any(name.rsplit("[", 1)[0] in over and state != "success" for name, state in final.items())


def _draw_wish(plan: dict, final: dict, draws: list[float]) -> dict:
    """One or two tasks or elements, mostly of mapped groups and setups or teardowns."""
    names = sorted(final)
    telling = [name for name in names if not name.endswith("[-1]")]
    around = {task["id"] for task in plan["tasks"] if task.get("role")}
    telling += [name for name in names if name.rsplit("[", 1)[0] in around]
    chosen = []
    for pool_draw, name_draw, whole_draw in (draws[0:3], draws[3:6])[: 1 if draws[6] < 0.75 else 2]:
        pool = telling if telling and pool_draw < 0.85 else names
        task_id, index = pool[int(name_draw * len(pool))].rstrip("]").rsplit("[", 1)
        chosen.append([task_id, int(index)] if int(index) >= 0 and whole_draw < 0.75 else task_id)
    return {
        "tasks": chosen,
        "upstream": draws[7] < 0.3,
        "downstream": draws[8] < 0.6,
        "only_failed": draws[9] < 0.12,
    }


def _clear(session, dag_id: str, wish: dict, *, dry_run: bool) -> list[str]:
    """The route `POST /dags/{dag_id}/clearTaskInstances` itself."""
    body = ClearTaskInstancesBody(
        dry_run=dry_run,
        dag_run_id=RUN_ID,
        task_ids=[task if isinstance(task, str) else tuple(task) for task in wish["tasks"]],
        include_upstream=wish["upstream"],
        include_downstream=wish["downstream"],
        only_failed=wish["only_failed"],
    )
    page = post_clear_task_instances(dag_id, DBDagBag(load_op_links=False), body, session, None)
    session.commit()
    return sorted(f"{ti.task_id}[{ti.map_index}]" for ti in page.task_instances)
