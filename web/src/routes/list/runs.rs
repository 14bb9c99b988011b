//! Airflow's paths of runs and task instances.

use crate::api;
use crate::api::task_instances::{TaskInstancePage, TaskInstanceView};
use crate::auth::Role;
use crate::routes::{Access, Routes};
use Access::Login;

pub(super) fn routes(routes: Routes) -> Routes {
    let viewer = Login(Role::Viewer);
    let user = Login(Role::User);
    let op = Login(Role::Op);
    routes
        .get("/api/v2/dags/{dag_id}/dagRuns", viewer, api::dag_runs::list)
        .gives::<api::dag_runs::DagRunPage>()
        .post("/api/v2/dags/{dag_id}/dagRuns", user, api::dag_runs::trigger)
        .takes::<api::dag_runs::TriggerDAGRunPostBody>()
        .gives::<api::dag_runs::DagRunView>()
        .bulk("/api/v2/dags/{dag_id}/dagRuns", user, Role::Op, api::dag_runs::bulk)
        .takes::<api::bulk::BulkBody<api::dag_runs::RunEntity>>()
        .gives::<api::bulk::BulkResponse>()
        .post("/api/v2/dags/{dag_id}/clearDagRuns", user, api::dag_runs::clear_runs)
        .takes::<api::dag_runs::BulkDAGRunClearBody>()
        .post("/api/v2/dags/{dag_id}/clearTaskInstances", user, api::task_instances::clear_chosen)
        .takes::<api::task_instances::ClearTaskInstancesBody>()
        .gives::<TaskInstancePage>()
        .get("/api/v2/dags/{dag_id}/dagRuns/list", viewer, api::dag_runs::get)
        .gives::<api::dag_runs::DagRunView>()
        .post("/api/v2/dags/{dag_id}/dagRuns/list", viewer, api::dag_runs::batch)
        .takes::<api::dag_runs::DAGRunsBatchBody>()
        .gives::<api::dag_runs::DagRunPage>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", viewer, api::dag_runs::get)
        .gives::<api::dag_runs::DagRunView>()
        .patch("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", user, api::dag_runs::patch)
        .takes::<api::dag_runs::DAGRunPatchBody>()
        .gives::<api::dag_runs::DagRunView>()
        .delete("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", op, api::dag_runs::delete)
        .gives_nothing()
        .post("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear", user, api::dag_runs::clear_run)
        .takes::<api::dag_runs::DAGRunClearBody>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", viewer, api::assets::upstream)
        .gives::<api::assets::EventPage>()
        .get("/api/v2/dags/{dag_id}/assets/queuedEvents", viewer, api::assets::of_dag)
        .gives::<api::assets::QueuedPage>()
        .delete("/api/v2/dags/{dag_id}/assets/queuedEvents", user, api::assets::delete_of_dag)
        .gives_nothing()
        .get("/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", viewer, api::assets::queued_one)
        .gives::<api::assets::QueuedView>()
        .delete("/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", user, api::assets::delete_one)
        .gives_nothing()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", viewer, api::dag_runs::wait)
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails", viewer, api::hitl::list)
        .gives::<api::hitl::HitlPage>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", viewer, api::task_instances::list)
        .gives::<TaskInstancePage>()
        .bulk("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", user, Role::Op, api::task_instances::bulk)
        .takes::<api::bulk::BulkBody<api::task_instances::InstanceEntity>>()
        .gives::<api::bulk::BulkResponse>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}",
            user,
            api::task_instances::patch,
        )
        .takes::<api::task_instances::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run",
            user,
            api::task_instances::dry_run,
        )
        .takes::<api::task_instances::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", viewer, api::task_instances::get)
        .gives::<TaskInstanceView>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
            viewer,
            api::task_instances::get_mapped,
        )
        .gives::<TaskInstanceView>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", viewer, api::task_instances::get)
        .gives::<TaskInstanceView>()
        .post("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", viewer, api::task_instances::batch)
        .takes::<api::task_instances::TaskInstancesBatchBody>()
        .gives::<TaskInstancePage>()
        .patch("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", user, api::task_instances::patch)
        .takes::<api::task_instances::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", user, api::task_instances::patch)
        .takes::<api::task_instances::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
            user,
            api::task_instances::dry_run,
        )
        .takes::<api::task_instances::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies",
            viewer,
            api::task_instances::dependencies,
        )
        .gives::<api::why::Dependencies>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
            user,
            api::task_instances::patch,
        )
        .takes::<api::task_instances::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
            user,
            api::task_instances::dry_run,
        )
        .takes::<api::task_instances::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies",
            viewer,
            api::task_instances::dependencies,
        )
        .gives::<api::why::Dependencies>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
            viewer,
            api::task_instances::list_mapped,
        )
        .gives::<TaskInstancePage>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links", viewer, api::links::extra)
        .gives::<api::links::ExtraLinks>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/externalLogUrl/{try_number}",
            viewer,
            api::links::external_log,
        )
        .gives::<api::links::ExternalLog>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}",
            viewer,
            api::task_instances::logs,
        )
        .gives::<api::task_instances::LogPage>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries",
            viewer,
            api::task_instances::list_tries,
        )
        .gives::<api::task_instances::TryPage>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}",
            viewer,
            api::task_instances::get_try,
        )
        .gives::<api::task_instances::TaskTryView>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries",
            viewer,
            api::task_instances::list_tries,
        )
        .gives::<api::task_instances::TryPage>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/{task_try_number}",
            viewer,
            api::task_instances::get_try,
        )
        .gives::<api::task_instances::TaskTryView>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
            viewer,
            api::hitl::get,
        )
        .gives::<api::hitl::HitlView>()
        // The question itself says whom it asks: those it names, whatever their role.
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
            viewer,
            api::hitl::patch,
        )
        .takes::<api::hitl::HitlBody>()
        .gives::<api::hitl::HitlAnswer>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}",
            viewer,
            api::hitl::get_try,
        )
        .gives::<api::hitl::HitlTryView>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries", viewer, api::xcom::list)
        .gives::<api::xcom::XComPage>()
        .get(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            viewer,
            api::xcom::get,
        )
        .gives::<api::xcom::XComValue>()
        .post("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries", op, api::xcom::create)
        .takes::<api::xcom::XComCreateBody>()
        .creates::<api::xcom::XComValue>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            op,
            api::xcom::patch,
        )
        .takes::<api::xcom::XComUpdateBody>()
        .gives::<api::xcom::XComValue>()
        .delete(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            op,
            api::xcom::delete,
        )
        .gives_nothing()
}
