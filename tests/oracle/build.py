"""Turns a plan (plain data, see plans.py) into a real Airflow DAG, stores it and starts a run of it.

The edges that count are the ones Airflow has in the end (`final_tasks`): it adds some for mapped arguments, groups and
teardowns by itself.
"""

from __future__ import annotations

import datetime

from airflow.models.serialized_dag import SerializedDagModel
from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG, BaseOperator, TaskGroup, task_group
from airflow.sdk.definitions.xcom_arg import XComArg
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from airflow.ti_deps.deps.mapped_task_upstream_dep import MappedTaskUpstreamDep
from airflow.ti_deps.deps.not_in_retry_period_dep import NotInRetryPeriodDep
from airflow.ti_deps.deps.not_previously_skipped_dep import NotPreviouslySkippedDep
from airflow.ti_deps.deps.prev_dagrun_dep import PrevDagrunDep
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

from sandbox import DAG_BUNDLE

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
RUN_ID = "manual__oracle"


class Work(BaseOperator):
    """Never executed: its outcome is scripted."""

    template_fields = ("arg",)

    def __init__(self, *, arg=None, **kwargs):
        super().__init__(**kwargs)
        self.arg = arg


class Branch(BaseBranchOperator):
    """Follows what the script says."""

    follow: list[str] | None = None

    def choose_branch(self, context):
        return self.follow


class ShortCircuit(ShortCircuitOperator):
    """Stops or goes on as the script says."""

    go_on = True

    def determine_kwargs(self, context):
        return {}

    def execute_callable(self):
        return self.go_on


class OrderedDeps(set):
    """The dependencies of a task in a fixed order.

    Airflow keeps them in a set hashed by address, so that which of two that disagree wins differs between processes.
    """

    def __init__(self, deps):
        super().__init__(deps)
        self.in_order = tuple(deps)

    def __ror__(self, other):
        return [*other, *self.in_order]


DEPS = (NotInRetryPeriodDep(), PrevDagrunDep(), TriggerRuleDep(), NotPreviouslySkippedDep(), MappedTaskUpstreamDep())
DEP_ORDERS = {"forward": OrderedDeps(DEPS), "backward": OrderedDeps(DEPS[::-1])}


def build(plan: dict, dag_id: str, *, validate: bool = True) -> DAG:
    """The authored DAG of a plan; raises what Airflow raises where it refuses one."""
    with DAG(dag_id, schedule=None, start_date=START, catchup=False) as dag:
        made = _Maker(plan).make()
        for task in plan["tasks"]:
            if task.get("role") == "teardown":
                setups = [made[s] for s in task["setups"]]
                made[task["id"]].as_teardown(setups=setups, on_failure_fail_dagrun=task["on_failure_fail_run"])
            elif task.get("role") == "setup":
                made[task["id"]].as_setup()
        for task in plan["tasks"]:
            for upstream in task["needs"]:
                made[task["id"]].set_upstream(made[upstream])
    if validate:
        dag.validate()
    return dag


class _Maker:
    """Makes the tasks in the order of the plan, each mapped group as a whole at its first task."""

    def __init__(self, plan: dict):
        self.tasks = plan["tasks"]
        self.groups = {group["id"]: group for group in plan.get("groups", [])}
        self.made: dict = {}

    def make(self) -> dict:
        for task in self.tasks:
            if task["id"] not in self.made:
                self._make_in(task, outer=None, argument=None)
        return self.made

    def _make_in(self, task: dict, outer: str | None, argument) -> None:
        group_id = task.get("group")
        if group_id == outer:
            self._operator(task, argument)
            return
        # The outermost group around the task that is not open yet. Its tasks stand next to each other in the plan.
        rest = group_id[len(outer) + 1 :] if outer else group_id
        name = rest.split(".")[0]
        inner = f"{outer}.{name}" if outer else name
        members = [t for t in self.tasks if f"{t.get('group') or ''}.".startswith(f"{inner}.")]
        over = self.groups[inner].get("map")

        def body(x=argument):
            for member in members:
                if member["id"] not in self.made:
                    self._make_in(member, inner, x)

        if over is None:
            with TaskGroup(name):
                body()
        else:
            task_group(group_id=name)(body).expand(x=self._over(over))

    def _over(self, over: dict):
        return list(range(over["literal"])) if "literal" in over else XComArg(self.made[over["over"]])

    def _operator(self, task: dict, argument) -> None:
        options = {"task_id": task["id"].rsplit(".", 1)[-1], "trigger_rule": task["rule"]}
        if task.get("map"):
            operator = Work.partial(**options).expand(arg=self._over(task["map"]))
        elif task.get("kind") == "branch":
            operator = Branch(**options)
        elif task.get("kind") == "short_circuit":
            ignore = task["ignore_downstream_trigger_rules"]
            operator = ShortCircuit(python_callable=int, ignore_downstream_trigger_rules=ignore, **options)
        else:
            operator = Work(arg=argument if task.get("uses_element") else None, **options)
        self.made[task["id"]] = operator


def store(dag: DAG, session) -> SerializedDAG:
    """Writes the DAG as the DAG processor does and reads it as the scheduler does."""
    lazy = LazyDeserializedDAG.from_dag(dag)
    SerializedDAG.bulk_write_to_db(DAG_BUNDLE, None, [dag], session=session)
    SerializedDagModel.write_dag(lazy, bundle_name=DAG_BUNDLE, session=session)
    session.commit()
    return DagSerialization.from_dict(lazy.data)


def start_run(dag: SerializedDAG, session, dep_order: str = "forward", run_id: str = RUN_ID):
    for task in dag.tasks:
        task.deps = DEP_ORDERS[dep_order]
    run = dag.create_dagrun(
        run_id=run_id,
        run_after=START,
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState.RUNNING,
        start_date=START,
        session=session,
    )
    session.commit()
    return run


def final_tasks(plan: dict, dag: SerializedDAG) -> list[dict]:
    """The plan's tasks as Airflow has them after building, in the plan's order."""
    tasks = []
    for planned in plan["tasks"]:
        task = dag.get_task(planned["id"])
        entry = {"id": task.task_id, "rule": str(getattr(task.trigger_rule, "value", task.trigger_rule))}
        entry["upstream"] = sorted(task.upstream_task_ids)
        if task.is_setup or task.is_teardown:
            entry["role"] = "setup" if task.is_setup else "teardown"
        if task.is_teardown:
            entry["on_failure_fail_run"] = bool(task.on_failure_fail_dagrun)
        for key in ("group", "kind", "ignore_downstream_trigger_rules", "map", "list_len"):
            if planned.get(key) is not None:
                entry[key] = planned[key]
        tasks.append(entry)
    return tasks
