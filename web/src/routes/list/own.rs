//! What only orch has, sorted by path.

use crate::api;
use crate::api::bodies;
use crate::auth::Role;
use crate::routes::{Access, Routes};
use Access::Login;
use orch_store::lake_view::LakeTable;

pub(super) fn routes(routes: Routes) -> Routes {
    let viewer = Login(Role::Viewer);
    let user = Login(Role::User);
    let op = Login(Role::Op);
    routes
        .get("/api/orch/v1/alerts", viewer, api::alerts::list)
        .gives::<api::alerts::AlertPage>()
        .post("/api/orch/v1/alerts/test", op, api::alerts::test)
        .takes::<bodies::AlertTestBody>()
        .creates::<api::alerts::AlertView>()
        .get("/api/orch/v1/alerts/{alert_id}", viewer, api::alerts::get)
        .gives::<api::alerts::AlertView>()
        .post("/api/orch/v1/alerts/{alert_id}/retry", op, api::alerts::retry)
        .gives::<api::alerts::AlertView>()
        .get("/api/orch/v1/assets", viewer, api::assets::list_extra)
        .gives::<api::assets::ExtraPage>()
        .get("/api/orch/v1/assets/checks", viewer, api::assets::checks_of_uri)
        .gives::<api::assets::CheckPage>()
        .get("/api/orch/v1/assets/dependencies", viewer, api::assets::dependencies)
        .gives::<api::assets::DependencyPage>()
        .get("/api/orch/v1/assets/{asset_id}", viewer, api::assets::extra)
        .gives::<api::assets::ExtraView>()
        .get("/api/orch/v1/assets/{asset_id}/checks", viewer, api::assets::list_checks)
        .gives::<api::assets::CheckPage>()
        .get("/api/orch/v1/backfills", viewer, api::backfills::list_all)
        .gives::<api::backfills::BackfillProgressPage>()
        .post("/api/orch/v1/backfills/dry_run", user, api::backfills::plan)
        .takes::<bodies::BackfillPostBody>()
        .gives::<api::backfills::PlanView>()
        .get("/api/orch/v1/backfills/{backfill_id}", viewer, api::backfills::progress)
        .gives::<api::backfills::BackfillProgress>()
        .get("/api/orch/v1/dags/{dag_id}/deadlineAlerts", viewer, api::deadlines::of_dag)
        .gives::<api::deadlines::DeadlineAlertPage>()
        .get("/api/orch/v1/dags/{dag_id}/diff", viewer, api::version_history::diff)
        .gives::<api::version_history::DiffView>()
        .get("/api/orch/v1/dags/{dag_id}/presets", viewer, api::presets::list)
        .gives::<api::presets::PresetPage>()
        .get("/api/orch/v1/dags/{dag_id}/presets/{preset_name}", viewer, api::presets::get)
        .gives::<api::presets::PresetView>()
        .put("/api/orch/v1/dags/{dag_id}/presets/{preset_name}", user, api::presets::put)
        .takes::<bodies::PresetBody>()
        .gives::<api::presets::PresetView>()
        .delete("/api/orch/v1/dags/{dag_id}/presets/{preset_name}", user, api::presets::delete)
        .gives_nothing()
        .get("/api/orch/v1/dags/{dag_id}/versions", viewer, api::version_history::list)
        .gives::<api::version_history::VersionPage>()
        .post("/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/cancel", user, api::dag_runs::cancel)
        .gives::<api::dag_runs::DagRunView>()
        .get("/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/deadlines", viewer, api::deadlines::list)
        .gives::<api::deadlines::DeadlinePage>()
        .get("/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/lineage", viewer, api::assets::lineage_of_run)
        .gives::<api::assets::LineagePage>()
        .post("/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/move", user, api::dag_runs::move_to_newest)
        .gives::<api::dag_runs::DagRunView>()
        .get("/api/orch/v1/dags/{dag_id}/structure", viewer, api::tasks::whole)
        .gives::<api::tasks::Structure>()
        .get(
            "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/tries",
            viewer,
            api::task_instances::list_tries_with_causes,
        )
        .gives::<api::task_instances::CausedTryPage>()
        .get("/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/why", viewer, api::why::why)
        .gives::<api::why::WhyView>()
        .post("/api/orch/v1/dags/{dag_id}/trigger", user, api::dag_runs::trigger_and_wait)
        .takes::<bodies::TriggerAndWaitBody>()
        .gives::<api::dag_runs::RunResult>()
        .get("/api/orch/v1/events", viewer, api::events::follow)
        .get("/api/orch/v1/importErrors", viewer, api::import_errors::list_problems)
        .gives::<api::import_errors::BrokenFilePage>()
        .get("/api/orch/v1/lake/tables", viewer, api::lake::list)
        .gives::<api::lake::TablePage>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}", viewer, api::lake::get)
        .gives::<LakeTable>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}/files", viewer, api::lake::files)
        .gives::<api::lake::FilePage>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}/partitions", viewer, api::lake::partitions)
        .gives::<api::lake::PartitionPage>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}/snapshots", viewer, api::lake::snapshots)
        .gives::<api::lake::SnapshotPage>()
        .get("/api/orch/v1/quality", viewer, api::quality::report)
        .gives::<api::quality::QualityReport>()
        .get("/api/orch/v1/sql", viewer, api::sql::list)
        .gives::<api::sql::QueryPage>()
        .post("/api/orch/v1/sql", op, api::sql::run)
        .takes::<bodies::SqlBody>()
        .gives::<api::sql::SqlAnswer>()
        .delete("/api/orch/v1/sql/{query_id}", op, api::sql::cancel)
        .gives_nothing()
}
