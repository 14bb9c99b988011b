"""Drives orch by Airflow's own client: logs in, reads, triggers, waits, clears, marks, patches, deletes, one by one and
many at once.

Every answer goes through the client's strict models; what must hold of it is asserted. Given the server's address;
the password of `admin` is in ORCH_PASSWORD.
"""

import json
import os
import sys

import urllib3

import airflow_client.client as airflow
from airflow_client.client import models as m

DAG, RUN, TASK = "example_chain", "by-client", "step_3"


def log_in(host):
    """As the client's own documents say: a name and a password for a token."""
    body = {"username": "admin", "password": os.environ["ORCH_PASSWORD"]}
    answer = urllib3.request("POST", f"{host}/auth/token", json=body)
    assert answer.status == 201, answer.data
    return answer.json()["access_token"]


def read_dags(client):
    dags = airflow.DAGApi(client)
    listed = dags.get_dags(limit=100, order_by=["-dag_id"])
    assert DAG in [dag.dag_id for dag in listed.dags]
    assert dags.get_dag(DAG).is_paused is False
    for dag in listed.dags:
        details = dags.get_dag_details(dag.dag_id)
        tasks = airflow.TaskApi(client).get_tasks(dag.dag_id)
        assert details.latest_dag_version.version_number == 1 and tasks.total_entries > 0
        airflow.DagSourceApi(client).get_dag_source(dag.dag_id)
    assert airflow.TaskApi(client).get_task(DAG, TASK).task_id == TASK
    assert "example" in dags.get_dag_tags().tags
    assert airflow.DagVersionApi(client).get_dag_versions("~").total_entries >= listed.total_entries
    assert airflow.DagVersionApi(client).get_dag_version(DAG, 1).dag_id == DAG
    assert airflow.DagStatsApi(client).get_dag_stats(dag_ids=[DAG]).total_entries == 1
    assert dags.patch_dag(DAG, m.DAGPatchBody(is_paused=True), update_mask=["is_paused"]).is_paused
    assert dags.patch_dags(m.DAGPatchBody(is_paused=False), dag_id_pattern=DAG).total_entries == 1


def trigger_and_read(client):
    runs, instances = airflow.DagRunApi(client), airflow.TaskInstanceApi(client)
    xcom = airflow.XComApi(client)
    body = m.TriggerDAGRunPostBody(dag_run_id=RUN, logical_date=None, conf={"a": 1}, note="hi")
    assert runs.trigger_dag_run(DAG, body).conf == {"a": 1}
    assert runs.wait_dag_run_until_finished(DAG, RUN, 1, result=[TASK])["state"] == "success"
    assert runs.get_dag_run(DAG, RUN).note == "hi"
    assert runs.get_dag_runs("~", order_by=["-run_after"], state=["success"]).total_entries >= 1
    assert runs.get_list_dag_runs_batch("~", m.DAGRunsBatchBody(dag_ids=[DAG])).total_entries == 1
    assert runs.patch_dag_run(DAG, RUN, m.DAGRunPatchBody(note="other")).note == "other"
    listed = instances.get_task_instances(DAG, RUN)
    assert all(one.state == "success" for one in listed.task_instances)
    assert instances.get_task_instances("~", "~", order_by=["-start_date"]).total_entries >= listed.total_entries
    batch = m.TaskInstancesBatchBody(dag_ids=[DAG], state=["success"])
    assert instances.get_task_instances_batch("~", "~", batch).total_entries == listed.total_entries
    assert instances.get_task_instance(DAG, RUN, TASK).try_number == 1
    assert instances.get_task_instance_tries(DAG, RUN, TASK).total_entries == 1
    assert instances.get_task_instance_try_details(DAG, RUN, TASK, 1).state == "success"
    assert instances.get_task_instance_dependencies(DAG, RUN, TASK).dependencies == []
    assert "return_value" in [entry.key for entry in xcom.get_xcom_entries(DAG, RUN, TASK).xcom_entries]
    for stringify in [False, True]:
        xcom.get_xcom_entry(DAG, TASK, RUN, "return_value", stringify=stringify)


def read_logs(client):
    runs, instances = airflow.DagRunApi(client), airflow.TaskInstanceApi(client)
    runs.trigger_dag_run("example_hello", m.TriggerDAGRunPostBody(dag_run_id=RUN, logical_date=None))
    runs.wait_dag_run_until_finished("example_hello", RUN, 1)
    log = instances.get_log("example_hello", RUN, "greet", 1, full_content=True)
    lines = [message.event for message in log.content.actual_instance]
    assert f"this is run {RUN}" in lines, lines
    assert log.continuation_token is None


def change(client):
    runs, instances = airflow.DagRunApi(client), airflow.TaskInstanceApi(client)
    chosen = [m.ClearTaskInstancesBodyTaskIdsInner(TASK)]
    for dry_run in [True, False]:
        body = m.ClearTaskInstancesBody(
            dry_run=dry_run, dag_run_id=RUN, only_failed=False, task_ids=chosen, include_downstream=True
        )
        assert instances.post_clear_task_instances(DAG, body).total_entries > 1
    runs.wait_dag_run_until_finished(DAG, RUN, 1)
    assert instances.get_task_instance_tries(DAG, RUN, TASK).total_entries == 2
    assert runs.clear_dag_run(DAG, RUN, m.DAGRunClearBody(dry_run=False)) is not None
    runs.wait_dag_run_until_finished(DAG, RUN, 1)
    failed = m.PatchTaskInstanceBody(new_state="failed")
    assert instances.patch_task_instance_dry_run(DAG, RUN, TASK, failed).total_entries == 1
    assert instances.patch_task_instance(DAG, RUN, TASK, failed).task_instances[0].state == "failed"
    success = m.PatchTaskInstanceBody(new_state="success")
    assert instances.patch_task_instance(DAG, RUN, TASK, success).task_instances[0].state == "success"
    assert runs.patch_dag_run(DAG, RUN, m.DAGRunPatchBody(state="failed")).state == "failed"


def read_elements(client):
    runs, instances = airflow.DagRunApi(client), airflow.TaskInstanceApi(client)
    dag = "example_fan"
    runs.trigger_dag_run(dag, m.TriggerDAGRunPostBody(dag_run_id=RUN, logical_date=None))
    runs.wait_dag_run_until_finished(dag, RUN, 1)
    assert len(instances.get_mapped_task_instances(dag, RUN, "double", limit=3).task_instances) == 3
    assert instances.get_mapped_task_instance(dag, RUN, "double", 1).map_index == 1
    assert instances.get_mapped_task_instance_tries(dag, RUN, "double", 1).total_entries == 1
    assert instances.get_mapped_task_instance_try_details(dag, RUN, "double", 1, 1).try_number == 1
    instances.get_task_instance_dependencies_by_map_index(dag, RUN, "double", 1)
    failed = m.PatchTaskInstanceBody(new_state="failed")
    instances.patch_task_instance_dry_run_by_map_index(dag, RUN, "double", 1, failed)
    assert instances.patch_task_instance_by_map_index(dag, RUN, "double", 1, failed).total_entries == 1
    runs.delete_dag_run(dag, RUN)
    airflow.DAGApi(client).delete_dag(dag)


def favor(client):
    dags = airflow.DAGApi(client)
    dags.favorite_dag(DAG)
    assert [dag.dag_id for dag in dags.get_dags(is_favorite=True).dags] == [DAG]
    assert dags.get_dag_details(DAG).is_favorite
    dags.unfavorite_dag(DAG)
    assert dags.get_dags(is_favorite=True).total_entries == 0


def write_outputs(client):
    xcom = airflow.XComApi(client)
    made = xcom.create_xcom_entry(DAG, TASK, RUN, m.XComCreateBody(key="by-hand", value={"rows": 7}))
    assert made.value == {"rows": 7}
    try:
        xcom.create_xcom_entry(DAG, TASK, RUN, m.XComCreateBody(key="by-hand", value=1))
        raise AssertionError("it is there already")
    except airflow.exceptions.ConflictException:
        pass
    changed = xcom.update_xcom_entry(DAG, TASK, RUN, "by-hand", m.XComUpdateBody(value=[1, 2]))
    assert changed.value == [1, 2]
    assert xcom.get_xcom_entry(DAG, TASK, RUN, "by-hand").actual_instance.value == [1, 2]
    xcom.delete_xcom_entry(DAG, TASK, RUN, "by-hand")
    assert "by-hand" not in [entry.key for entry in xcom.get_xcom_entries(DAG, RUN, TASK).xcom_entries]


def change_many(client):
    runs, instances = airflow.DagRunApi(client), airflow.TaskInstanceApi(client)
    names = ["many-1", "many-2", "many-3"]
    for name in names:
        runs.trigger_dag_run(DAG, m.TriggerDAGRunPostBody(dag_run_id=name, logical_date=None))
        runs.wait_dag_run_until_finished(DAG, name, 1)
    noted = {"actions": [{"action": "update", "entities": [{"dag_run_id": name, "note": "x"} for name in names]}]}
    done = runs.bulk_dag_runs(DAG, m.BulkBodyBulkDAGRunBody.from_dict(noted))
    assert done.update.success == [f"{DAG}.{name}" for name in names] and done.create is None, done
    entities = [{"task_id": TASK, "new_state": "failed", "note": "y"}, {"task_id": "nothing", "new_state": "failed"}]
    marks = {"actions": [{"action": "update", "entities": entities}, {"action": "delete", "entities": [TASK]}]}
    done = instances.bulk_task_instances(DAG, names[0], m.BulkBodyBulkTaskInstanceBody.from_dict(marks))
    assert done.update.success == [f"{DAG}.{names[0]}.{TASK}[-1]"], done
    assert [error["status_code"] for error in done.update.errors + done.delete.errors] == [404, 405], done
    assert instances.get_task_instance(DAG, names[0], TASK).note == "y"
    chosen = [m.BulkDAGRunBody(dag_run_id=name) for name in names]
    # The client cannot read a dry run, of Airflow neither: an instance also fits its model of a new task.
    would = runs.clear_dag_runs_without_preload_content(DAG, m.BulkDAGRunClearBody(dag_runs=chosen))
    assert json.loads(would.data)["total_entries"] > 3
    cleared = runs.clear_dag_runs(DAG, m.BulkDAGRunClearBody(dag_runs=chosen, dry_run=False, note="again"))
    assert [run.note for run in cleared.actual_instance.dag_runs] == ["again"] * 3
    for name in names:
        runs.wait_dag_run_until_finished(DAG, name, 1)
    page = runs.get_dag_runs(DAG, limit=2, cursor="")
    assert page.next_cursor and page.previous_cursor is None
    following = runs.get_dag_runs(DAG, limit=2, cursor=page.next_cursor)
    assert following.previous_cursor and page.dag_runs[0].dag_run_id != following.dag_runs[0].dag_run_id
    gone = {"actions": [{"action": "delete", "entities": names + ["nothing"], "action_on_non_existence": "skip"}]}
    done = runs.bulk_dag_runs(DAG, m.BulkBodyBulkDAGRunBody.from_dict(gone))
    assert len(done.delete.success) == 3 and not done.delete.errors, done


def write_notes(client):
    instances = airflow.TaskInstanceApi(client)
    noted = instances.patch_task_instance(DAG, RUN, TASK, m.PatchTaskInstanceBody(note="seen"))
    assert noted.task_instances[0].note == "seen"
    assert instances.get_task_instance(DAG, RUN, TASK).note == "seen"
    assert instances.get_task_instances(DAG, RUN, task_id=TASK).task_instances[0].note == "seen"
    assert airflow.ExtraLinksApi(client).get_extra_links(DAG, RUN, TASK).total_entries == 0


def mark_a_group(client):
    runs, instances = airflow.DagRunApi(client), airflow.TaskInstanceApi(client)
    dag, failed = "example_mapped_group", m.PatchTaskInstanceBody(new_state="failed", note="all of them")
    runs.trigger_dag_run(dag, m.TriggerDAGRunPostBody(dag_run_id=RUN, logical_date=None))
    runs.wait_dag_run_until_finished(dag, RUN, 1)
    would = instances.patch_task_group_instances_dry_run(dag, RUN, "per_file", failed)
    done = instances.patch_task_group_instances(dag, RUN, "per_file", failed)
    assert would.total_entries == done.total_entries > 1
    assert {(one.state, one.note) for one in done.task_instances} == {("failed", "all of them")}


def keep_connections(client):
    connections = airflow.ConnectionApi(client)
    body = m.ConnectionBody(
        connection_id="sales", conn_type="postgres", host="db", login="me", password="hush", port=5432,
        extra='{"api_key": "hush", "sslmode": "require"}',
    )
    made = connections.post_connection(body)
    assert (made.password, json.loads(made.extra)) == ("***", {"api_key": "***", "sslmode": "require"}), made
    try:
        connections.post_connection(body)
        raise AssertionError("it is there already")
    except airflow.exceptions.ConflictException:
        pass
    listed = connections.get_connections(connection_id_pattern="SAL", order_by=["-conn_type"])
    assert listed.total_entries == 1 and listed.connections[0].host == "db"
    assert connections.get_connection("sales").port == 5432
    changed = m.ConnectionBody(connection_id="sales", conn_type="mysql", host="other")
    assert connections.patch_connection("sales", changed, update_mask=["host"]).conn_type == "postgres"
    actions = [
        {"action": "create", "entities": [{"connection_id": "more", "conn_type": "http"}], "action_on_existence": "skip"},
        {"action": "update", "entities": [{"connection_id": "sales", "conn_type": "postgres", "host": "third"}]},
        {"action": "delete", "entities": ["more", "nothing"], "action_on_non_existence": "skip"},
    ]
    done = connections.bulk_connections(m.BulkBodyConnectionBody.from_dict({"actions": actions}))
    assert (done.create.success, done.update.success, done.delete.success) == (["more"], ["sales"], ["more"]), done
    try:
        connections.test_connection(body)
        raise AssertionError("it is switched off")
    except airflow.exceptions.ForbiddenException:
        pass
    connections.delete_connection("sales")
    try:
        connections.get_connection("sales")
        raise AssertionError("it is gone")
    except airflow.exceptions.NotFoundException:
        pass


def keep_variables(client):
    variables = airflow.VariableApi(client)
    assert variables.post_variable(m.VariableBody(key="limit", value="42", description="rows")).value == "42"
    assert variables.post_variable(m.VariableBody(key="api_token", value="hush")).value == "***"
    assert variables.get_variables(variable_key_prefix_pattern="l", order_by=["-key"]).total_entries == 1
    assert variables.get_variable("limit").description == "rows"
    changed = variables.patch_variable("limit", m.VariableBody(key="limit", value="43"), update_mask=["value"])
    assert (changed.value, changed.description, changed.is_encrypted) == ("43", "rows", True), changed
    actions = [
        {"action": "create", "entities": [{"key": "limit", "value": "1"}, {"key": "a/b", "value": "2"}]},
        {"action": "delete", "entities": ["api_token"]},
    ]
    done = variables.bulk_variables(m.BulkBodyVariableBody.from_dict({"actions": actions}))
    assert (done.create.success, done.delete.success) == (["a/b"], ["api_token"]), done
    assert done.create.errors[0]["status_code"] == 409, done
    for key in ["a/b", "limit"]:
        variables.delete_variable(key)
    assert variables.get_variables().total_entries == 0


def read_the_rest(client):
    logs = airflow.EventLogApi(client)
    newest = logs.get_event_logs(order_by=["-id"], limit=1).event_logs[0]
    assert newest.event == "delete_dag" and newest.owner == "admin"
    assert logs.get_event_log(newest.event_log_id).event == newest.event
    assert airflow.JobApi(client).get_jobs(is_alive=True).total_entries >= 2
    assert airflow.ConfigApi(client).get_config().sections[0].name == "orch"
    airflow.ConfigApi(client).get_config_value("orch", "port")
    airflow.ImportErrorApi(client).get_import_errors()
    airflow.DagWarningApi(client).list_dag_warnings()
    airflow.PluginApi(client).get_plugins()
    airflow.ProviderApi(client).get_providers()
    airflow.MonitorApi(client).get_health()
    airflow.VersionApi(client).get_version()


def main():
    configuration = airflow.Configuration(host=sys.argv[1], access_token=log_in(sys.argv[1]))
    with airflow.ApiClient(configuration) as client:
        first = [read_dags, favor, trigger_and_read, write_outputs, read_logs, change, write_notes, change_many]
        for step in [*first, mark_a_group, keep_connections, keep_variables, read_elements, read_the_rest]:
            step(client)


main()
