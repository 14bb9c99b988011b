"""Plays one run: Airflow's scheduler decides to a fixpoint, then one ready instance ends as its script says, and so on.

The scheduler's part (`DagRun.update_state`, `DagRun.schedule_tis`) and the worker's calls to the API server
(`skip-downstream`, the XCom and TaskMap rows) are Airflow's own code. Ours is only which instance ends next.
"""

from __future__ import annotations

from airflow.api_fastapi.execution_api.datamodels.taskinstance import TISkippedDownstreamTasksStatePayload
from airflow.api_fastapi.execution_api.routes.task_instances import ti_skip_downstream
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskmap import TaskMap
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import select, update

from build import RUN_ID

FINISHED_RUN = (DagRunState.SUCCESS, DagRunState.FAILED)
# A fixpoint takes about as many passes as the DAG is deep; more than this is a driver gone wrong.
MAX_PASSES = 200


def key(task_id: str, map_index: int) -> str:
    return f"{task_id}[{map_index}]"


class Drive:
    """One run of one DAG. `ready_is` says what an instance is between ready and its end: `running` or `scheduled`."""

    def __init__(self, *, authored, dag, run, outcomes: dict, list_lens: dict, order: list[int], ready_is, session):
        self.authored, self.dag, self.run, self.session = authored, dag, run, session
        self.outcomes, self.list_lens, self.order, self.ready_is = outcomes, list_lens, order, ready_is
        self.executed: list[str] = []
        self.ready_counts: list[int] = []
        self.mapped_over = {op.task_id for task in dag.tasks for op in self._map_sources(task)}

    @staticmethod
    def _map_sources(task):
        if task.is_mapped:
            yield from task.iter_mapped_dependencies()
        for group in task.iter_mapped_task_groups():
            yield from group.iter_mapped_dependencies()

    def play(self) -> dict:
        state = self._settle()
        while state not in FINISHED_RUN:
            ready = [ti for ti in self._instances() if ti.state == self.ready_is]
            ready.sort(key=lambda ti: (ti.task_id, ti.map_index))
            if not ready:
                break
            self.ready_counts.append(len(ready))
            self._end(ready[self.order[len(self.executed)] % len(ready)])
            state = self._settle()
        final = {key(ti.task_id, ti.map_index): ti.state and str(ti.state) for ti in self._instances()}
        return {
            "executed": self.executed,
            "ready": self.ready_counts,
            "final": dict(sorted(final.items())),
            "run": str(state.value),
        }

    def _instances(self) -> list[TaskInstance]:
        return list(self.session.scalars(select(TaskInstance).where(TaskInstance.dag_id == self.dag.dag_id)))

    def _settle(self) -> DagRunState:
        """The scheduler's loop over this run, until a pass changes nothing."""
        seen = None
        for _ in range(MAX_PASSES):
            # Each pass of the scheduler reads the database afresh.
            self.session.expire_all()
            self.run.dag = self.dag
            ready, _callback = self.run.update_state(session=self.session, execute_callbacks=False)
            self.session.flush()
            self.run.schedule_tis(ready, session=self.session)
            if self.ready_is == "running":
                self.session.execute(
                    update(TaskInstance)
                    .where(TaskInstance.dag_id == self.dag.dag_id, TaskInstance.state == TaskInstanceState.SCHEDULED)
                    .values(state=TaskInstanceState.RUNNING)
                    .execution_options(synchronize_session=False)
                )
            self.session.commit()
            self.session.expire_all()
            state = DagRunState(self.run.state)
            now = (state, sorted((ti.task_id, ti.map_index, str(ti.state)) for ti in self._instances()))
            if state in FINISHED_RUN or now == seen:
                return state
            seen = now
        raise RuntimeError(f"no fixpoint after {MAX_PASSES} passes")

    def _end(self, ti: TaskInstance) -> None:
        """What the worker and the API server do when the instance ends."""
        name = key(ti.task_id, ti.map_index)
        self.executed.append(name)
        outcome = self.outcomes.get(name, "success")
        if isinstance(outcome, dict):
            self._choose(ti, outcome)
            outcome = "success"
        if outcome == "success" and ti.task_id in self.mapped_over:
            self._push_list(ti)
        self.session.flush()
        # The skipped siblings were written past the session.
        self.session.expire_all()
        ti.set_state(TaskInstanceState(outcome), session=self.session)
        self.session.commit()

    def _push_list(self, ti: TaskInstance) -> None:
        length = self.list_lens.get(ti.task_id)
        if length is not None:
            self.session.merge(TaskMap(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, length=length, keys=None))
        XComModel.set(
            XCOM_RETURN_KEY,
            value=list(range(length)) if length is not None else 1,
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            map_index=ti.map_index,
            session=self.session,
        )

    def _choose(self, ti: TaskInstance, outcome: dict) -> None:
        """Runs the operator's own skip logic and hands its skips to the API server's route."""
        operator = self.authored.get_task(ti.task_id)
        worker = _WorkerInstance(operator, ti, self.session)
        context = {"ti": worker, "task": operator, "dag_run": self.run, "params": {}}
        try:
            if "branch" in outcome:
                operator.do_branch(context, outcome["branch"])
            else:
                operator.go_on = outcome["short_circuit"]
                operator.allow_nested_operators = True
                operator.execute(context)
        except DownstreamTasksSkipped as skip:
            payload = TISkippedDownstreamTasksStatePayload(tasks=list(skip.tasks))
            ti_skip_downstream(ti.id, payload, self.session)


class _WorkerInstance:
    """The worker's view of an instance: as much of it as `SkipMixin` asks for."""

    def __init__(self, operator, ti: TaskInstance, session):
        self.task, self.map_index = operator, ti.map_index
        self._ti, self._session = ti, session

    def xcom_push(self, key: str, value) -> None:
        XComModel.set(
            key,
            value=value,
            dag_id=self._ti.dag_id,
            task_id=self._ti.task_id,
            run_id=RUN_ID,
            map_index=self._ti.map_index,
            session=self._session,
        )
