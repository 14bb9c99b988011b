"""Drives orch by Airflow's own client: reads, triggers, waits, clears, marks, patches, deletes.

Every answer goes through the client's strict models; what must hold of it is asserted. Given the server's address;
the token is in ORCH_TOKEN.
"""

import os
import sys

import airflow_client.client as airflow
from airflow_client.client import models as m

DAG, RUN, TASK = "example_chain", "by-client", "step_3"


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
    configuration = airflow.Configuration(host=sys.argv[1], access_token=os.environ["ORCH_TOKEN"])
    with airflow.ApiClient(configuration) as client:
        for step in [read_dags, trigger_and_read, read_logs, change, read_elements, read_the_rest]:
            step(client)


main()
