//! The list itself: every route with who may use it, what it takes and gives, and who answers. The API is sorted by path,
//! then come the pages. A route without a rule cannot be written down.

use super::{Access, Routes};
use crate::api::bodies;
use crate::api::task_instances::{TaskInstancePage, TaskInstanceView};
use crate::auth::Role;
use crate::state::App;
use crate::{api, assets, health, pages};
use Access::{Login, Open};
use orch_store::lake_view::LakeTable;

/// The whole list: the API sorted by path, then the pages.
pub(super) fn routes(app: &App) -> Routes {
    let viewer = Login(Role::Viewer);
    let user = Login(Role::User);
    let op = Login(Role::Op);
    let admin = Login(Role::Admin);
    let api = Routes::new(app)
        .post("/auth/token", Open, api::login::token)
        .takes::<bodies::LoginBody>()
        .creates::<api::login::Token>()
        .post("/auth/token/cli", Open, api::login::cli_token)
        .takes::<bodies::LoginBody>()
        .creates::<api::login::Token>()
        .post("/auth/logout", viewer, api::login::log_out)
        .gives_nothing()
        .get("/healthz", Open, health::alive)
        .get("/readyz", Open, health::ready)
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
        .get("/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/lineage", viewer, api::assets::lineage_of_run)
        .gives::<api::assets::LineagePage>()
        .get("/api/orch/v1/dags/{dag_id}/structure", viewer, api::tasks::whole)
        .gives::<api::tasks::Structure>()
        .get("/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/why", viewer, api::why::why)
        .gives::<api::why::WhyView>()
        .post("/api/orch/v1/dags/{dag_id}/trigger", user, api::dag_runs::trigger_and_wait)
        .takes::<bodies::TriggerAndWaitBody>()
        .gives::<api::dag_runs::RunResult>()
        .get("/api/orch/v1/events", viewer, api::events::follow)
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
        .get("/api/v2/auth/login", Open, api::entrance::login)
        .get("/api/v2/auth/logout", Open, api::entrance::logout)
        .get("/api/v2/assets", viewer, api::assets::list)
        .gives::<api::assets::AssetPage>()
        .get("/api/v2/assets/aliases", viewer, api::assets::aliases)
        .gives::<api::assets::AliasPage>()
        .get("/api/v2/assets/aliases/{asset_alias_id}", viewer, api::assets::alias)
        .gives::<api::assets::AliasView>()
        .get("/api/v2/assets/events", viewer, api::assets::list_events)
        .gives::<api::assets::EventPage>()
        .post("/api/v2/assets/events", user, api::assets::create_event)
        .takes::<bodies::CreateAssetEventsBody>()
        .gives::<api::assets::EventView>()
        .get("/api/v2/assets/{asset_id}", viewer, api::assets::get)
        .gives::<api::assets::AssetView>()
        .post("/api/v2/assets/{asset_id}/materialize", user, api::assets::materialize)
        .takes::<bodies::MaterializeAssetBody>()
        .gives::<api::dag_runs::DagRunView>()
        .get("/api/v2/assets/{asset_id}/queuedEvents", viewer, api::assets::of_asset)
        .gives::<api::assets::QueuedPage>()
        .delete("/api/v2/assets/{asset_id}/queuedEvents", user, api::assets::delete_of_asset)
        .gives_nothing()
        .get("/api/v2/backfills", viewer, api::backfills::list)
        .gives::<api::backfills::BackfillPage>()
        .post("/api/v2/backfills", user, api::backfills::create)
        .takes::<bodies::BackfillPostBody>()
        .gives::<api::backfills::BackfillView>()
        .post("/api/v2/backfills/dry_run", user, api::backfills::dry_run)
        .takes::<bodies::BackfillPostBody>()
        .gives::<api::backfills::DryRunPage>()
        .get("/api/v2/backfills/{backfill_id}", viewer, api::backfills::get)
        .gives::<api::backfills::BackfillView>()
        .put("/api/v2/backfills/{backfill_id}/cancel", user, api::backfills::cancel)
        .gives::<api::backfills::BackfillView>()
        .put("/api/v2/backfills/{backfill_id}/pause", user, api::backfills::pause)
        .gives::<api::backfills::BackfillView>()
        .put("/api/v2/backfills/{backfill_id}/unpause", user, api::backfills::unpause)
        .gives::<api::backfills::BackfillView>()
        .get("/api/v2/config", admin, api::settings::all)
        .gives::<api::settings::Config>()
        .get("/api/v2/config/section/{section}/option/{option}", admin, api::settings::one)
        .gives::<api::settings::Config>()
        .get("/api/v2/connections", viewer, api::connections::list)
        .gives::<api::connections::ConnectionPage>()
        .post("/api/v2/connections", op, api::connections::create)
        .takes::<bodies::ConnectionBody>()
        .creates::<api::connections::ConnectionView>()
        .bulk("/api/v2/connections", op, Role::Op, api::bulk::entities::<api::connections::Sent>)
        .takes::<bodies::BulkConnectionsBody>()
        .gives::<api::bulk::BulkResponse>()
        .post("/api/v2/connections/test", op, api::connections::test)
        .takes::<bodies::ConnectionBody>()
        .gives::<api::connections::ConnectionTest>()
        .get("/api/v2/connections/{connection_id}", viewer, api::connections::get)
        .gives::<api::connections::ConnectionView>()
        .patch("/api/v2/connections/{connection_id}", op, api::connections::patch)
        .takes::<bodies::ConnectionBody>()
        .gives::<api::connections::ConnectionView>()
        .delete("/api/v2/connections/{connection_id}", op, api::connections::delete)
        .gives_nothing()
        .get("/api/v2/dagSources/{dag_id}", viewer, api::dag_tags::source)
        .gives::<api::dag_tags::DagSource>()
        .get("/api/v2/dagStats", viewer, api::dag_tags::stats)
        .gives::<api::dag_tags::StatsPage>()
        .get("/api/v2/dagTags", viewer, api::dag_tags::list)
        .gives::<api::dag_tags::TagPage>()
        .get("/api/v2/dagWarnings", viewer, api::settings::dag_warnings)
        .gives::<api::settings::DagWarningPage>()
        .get("/api/v2/dags", viewer, api::dags::list)
        .gives::<api::dags::DagPage>()
        .patch("/api/v2/dags", user, api::dags::patch_all)
        .takes::<bodies::DAGPatchBody>()
        .gives::<api::dags::DagPage>()
        .get("/api/v2/dags/{dag_id}", viewer, api::dags::get)
        .gives::<api::dags::DagView>()
        .patch("/api/v2/dags/{dag_id}", user, api::dags::patch)
        .takes::<bodies::DAGPatchBody>()
        .gives::<api::dags::DagView>()
        .delete("/api/v2/dags/{dag_id}", admin, api::dags::delete)
        .get("/api/v2/dags/{dag_id}/details", viewer, api::dags::details)
        .gives::<api::dags::DagDetails>()
        .get("/api/v2/dags/{dag_id}/dagVersions", viewer, api::versions::list)
        .gives::<api::versions::DagVersionPage>()
        .get("/api/v2/dags/{dag_id}/dagVersions/{version_number}", viewer, api::versions::get)
        .gives::<api::versions::DagVersionView>()
        .post("/api/v2/dags/{dag_id}/favorite", viewer, api::dags::favorite)
        .gives_nothing()
        .post("/api/v2/dags/{dag_id}/unfavorite", viewer, api::dags::unfavorite)
        .gives_nothing()
        .get("/api/v2/dags/{dag_id}/tasks", viewer, api::tasks::list)
        .gives::<api::tasks::TaskPage>()
        .get("/api/v2/dags/{dag_id}/tasks/{task_id}", viewer, api::tasks::get)
        .gives::<api::tasks::TaskView>()
        .get("/api/v2/dags/{dag_id}/dagRuns", viewer, api::dag_runs::list)
        .gives::<api::dag_runs::DagRunPage>()
        .post("/api/v2/dags/{dag_id}/dagRuns", user, api::dag_runs::trigger)
        .takes::<bodies::TriggerDAGRunPostBody>()
        .gives::<api::dag_runs::DagRunView>()
        .bulk("/api/v2/dags/{dag_id}/dagRuns", user, Role::Op, api::dag_runs::bulk)
        .takes::<bodies::BulkDAGRunsBody>()
        .gives::<api::bulk::BulkResponse>()
        .post("/api/v2/dags/{dag_id}/clearDagRuns", user, api::dag_runs::clear_runs)
        .takes::<bodies::BulkDAGRunClearBody>()
        .post("/api/v2/dags/{dag_id}/clearTaskInstances", user, api::task_instances::clear_chosen)
        .takes::<bodies::ClearTaskInstancesBody>()
        .gives::<TaskInstancePage>()
        .get("/api/v2/dags/{dag_id}/dagRuns/list", viewer, api::dag_runs::get)
        .gives::<api::dag_runs::DagRunView>()
        .post("/api/v2/dags/{dag_id}/dagRuns/list", viewer, api::dag_runs::batch)
        .takes::<bodies::DAGRunsBatchBody>()
        .gives::<api::dag_runs::DagRunPage>()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", viewer, api::dag_runs::get)
        .gives::<api::dag_runs::DagRunView>()
        .patch("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", user, api::dag_runs::patch)
        .takes::<bodies::DAGRunPatchBody>()
        .gives::<api::dag_runs::DagRunView>()
        .delete("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", op, api::dag_runs::delete)
        .gives_nothing()
        .post("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear", user, api::dag_runs::clear_run)
        .takes::<bodies::DAGRunClearBody>()
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
        .takes::<bodies::BulkTaskInstancesBody>()
        .gives::<api::bulk::BulkResponse>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}",
            user,
            api::task_instances::patch,
        )
        .takes::<bodies::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run",
            user,
            api::task_instances::dry_run,
        )
        .takes::<bodies::PatchTaskInstanceBody>()
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
        .takes::<bodies::TaskInstancesBatchBody>()
        .gives::<TaskInstancePage>()
        .patch("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", user, api::task_instances::patch)
        .takes::<bodies::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", user, api::task_instances::patch)
        .takes::<bodies::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
            user,
            api::task_instances::dry_run,
        )
        .takes::<bodies::PatchTaskInstanceBody>()
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
        .takes::<bodies::PatchTaskInstanceBody>()
        .gives::<TaskInstancePage>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
            user,
            api::task_instances::dry_run,
        )
        .takes::<bodies::PatchTaskInstanceBody>()
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
        .takes::<bodies::HitlBody>()
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
        .takes::<bodies::XComCreateBody>()
        .creates::<api::xcom::XComValue>()
        .patch(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            op,
            api::xcom::patch,
        )
        .takes::<bodies::XComUpdateBody>()
        .gives::<api::xcom::XComValue>()
        .delete(
            "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            op,
            api::xcom::delete,
        )
        .gives_nothing()
        .get("/api/v2/eventLogs", viewer, api::event_logs::list)
        .gives::<api::event_logs::EventLogPage>()
        .get("/api/v2/eventLogs/{event_log_id}", viewer, api::event_logs::get)
        .gives::<api::event_logs::EventLogView>()
        .get("/api/v2/importErrors", viewer, api::import_errors::list)
        .gives::<api::import_errors::ImportErrorPage>()
        .get("/api/v2/importErrors/{import_error_id}", viewer, api::import_errors::get)
        .gives::<api::import_errors::ImportErrorView>()
        .get("/api/v2/jobs", viewer, api::jobs::list)
        .gives::<api::jobs::JobPage>()
        .get("/api/v2/monitor/health", Open, api::monitor::health)
        .get("/api/v2/plugins", viewer, api::settings::plugins)
        .gives::<api::settings::PluginPage>()
        .get("/api/v2/plugins/importErrors", viewer, api::settings::plugin_errors)
        .gives::<api::settings::PluginErrorPage>()
        .get("/api/v2/pools", viewer, api::pools::list)
        .gives::<api::pools::PoolPage>()
        .post("/api/v2/pools", op, api::pools::create)
        .takes::<bodies::PoolBody>()
        .creates::<api::pools::PoolView>()
        .bulk("/api/v2/pools", op, Role::Op, api::bulk::entities::<api::pools::Sent>)
        .takes::<bodies::BulkPoolsBody>()
        .gives::<api::bulk::BulkResponse>()
        .get("/api/v2/pools/{pool_name}", viewer, api::pools::get)
        .gives::<api::pools::PoolView>()
        .patch("/api/v2/pools/{pool_name}", op, api::pools::patch)
        .takes::<bodies::PoolPatchBody>()
        .gives::<api::pools::PoolView>()
        .delete("/api/v2/pools/{pool_name}", op, api::pools::delete)
        .gives_nothing()
        .get("/api/v2/providers", viewer, api::settings::providers)
        .gives::<api::settings::ProviderPage>()
        .get("/api/v2/variables", viewer, api::variables::list)
        .gives::<api::variables::VariablePage>()
        .post("/api/v2/variables", op, api::variables::create)
        .takes::<bodies::VariableBody>()
        .creates::<api::variables::VariableView>()
        .bulk("/api/v2/variables", op, Role::Op, api::bulk::entities::<api::variables::Sent>)
        .takes::<bodies::BulkVariablesBody>()
        .gives::<api::bulk::BulkResponse>()
        .get("/api/v2/variables/{variable_key}", viewer, api::variables::get)
        .gives::<api::variables::VariableView>()
        .patch("/api/v2/variables/{variable_key}", op, api::variables::patch)
        .takes::<bodies::VariableBody>()
        .gives::<api::variables::VariableView>()
        .delete("/api/v2/variables/{variable_key}", op, api::variables::delete)
        .gives_nothing()
        .get("/api/v2/version", Open, api::monitor::version)
        .get("/openapi.json", viewer, api::described::openapi)
        .get("/static/{hash}/{name}", Open, assets::serve);
    for_people(api)
}

/// For people at a browser.
fn for_people(routes: Routes) -> Routes {
    let viewer = Login(Role::Viewer);
    let user = Login(Role::User);
    let op = Login(Role::Op);
    let admin = Login(Role::Admin);
    routes
        .page("/", viewer, pages::home::show)
        .page("/account", viewer, pages::account::show)
        .form("/account/logins/{login_id}/end", viewer, pages::account::change::end_login)
        .form("/account/password", viewer, pages::account::change::password)
        .form("/account/tokens", viewer, pages::account::change::add)
        .form("/account/tokens/{token_id}/revoke", viewer, pages::account::change::revoke)
        .page("/assets", viewer, pages::assets::show)
        .page("/assets/{asset_id}", viewer, pages::assets::asset::show)
        .form("/assets/{asset_id}/make", user, pages::assets::change::make)
        .form("/assets/{asset_id}/update", user, pages::assets::change::update)
        .page("/approvals", viewer, pages::approvals::show)
        .page("/approvals/{approval_id}", viewer, pages::approvals::answer::show)
        .form("/approvals/{approval_id}", viewer, pages::approvals::answer::post)
        .page("/alerts", viewer, pages::alerts::show)
        .form("/alerts/retry", op, pages::alerts::retry)
        .page("/audit", viewer, pages::audit::show)
        .page("/backfills", viewer, pages::backfills::show)
        .page("/backfills/{backfill_id}", viewer, pages::backfills::backfill::show)
        .form("/backfills/{backfill_id}", user, pages::backfills::backfill::change_it)
        .page("/connections", viewer, pages::connections::show)
        .page("/connections/delete", op, pages::connections::change::ask_delete)
        .form("/connections/delete", op, pages::connections::change::delete)
        .page("/connections/edit", op, pages::connections::edit::show)
        .form("/connections/edit", op, pages::connections::change::save)
        .page("/connections/export", op, pages::connections::transfer::export)
        .page("/connections/import", op, pages::connections::transfer::ask_import)
        .form("/connections/import", op, pages::connections::transfer::import)
        .page("/dags", viewer, pages::dags::show)
        .page("/dags/change", user, pages::dags::change::ask)
        .form("/dags/change", user, pages::dags::change::change)
        .page("/dags/{dag_id}", viewer, pages::dag::grid::show)
        .page("/dags/{dag_id}/backfills", viewer, pages::dag::backfills::show)
        .form("/dags/{dag_id}/backfills", user, pages::dag::backfills::create)
        .page("/dags/{dag_id}/code", viewer, pages::dag::code::show)
        .page("/dags/{dag_id}/details", viewer, pages::dag::details::show)
        .page("/dags/{dag_id}/graph", viewer, pages::dag::graph::show)
        .page("/dags/{dag_id}/overview", viewer, pages::dag::overview::show)
        .form("/dags/{dag_id}/paused", user, pages::dags::set_paused)
        .page("/dags/{dag_id}/runs", viewer, pages::dag::runs::show)
        .page("/dags/{dag_id}/runs/{dag_run_id}", viewer, pages::run::show)
        .page("/dags/{dag_id}/runs/{dag_run_id}/cancel", user, pages::run::change::ask_cancel)
        .form("/dags/{dag_id}/runs/{dag_run_id}/cancel", user, pages::run::change::cancel)
        .page("/dags/{dag_id}/runs/{dag_run_id}/clear", user, pages::run::clear::ask)
        .form("/dags/{dag_id}/runs/{dag_run_id}/clear", user, pages::run::clear::clear)
        .page("/dags/{dag_id}/runs/{dag_run_id}/events", viewer, pages::run::events::follow)
        .page("/dags/{dag_id}/runs/{dag_run_id}/mark", user, pages::run::change::ask_mark)
        .form("/dags/{dag_id}/runs/{dag_run_id}/mark", user, pages::run::change::mark)
        .page("/dags/{dag_id}/runs/{dag_run_id}/mark-chosen", user, pages::run::mark_chosen::ask)
        .form("/dags/{dag_id}/runs/{dag_run_id}/mark-chosen", user, pages::run::mark_chosen::mark)
        .form("/dags/{dag_id}/runs/{dag_run_id}/note", user, pages::run::change::note)
        .page("/dags/{dag_id}/runs/{dag_run_id}/tasks", viewer, pages::run::tasks::show)
        .page("/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}", viewer, pages::task::show)
        .page("/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}", viewer, pages::task::show_mapped)
        .page(
            "/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/events",
            viewer,
            pages::run::events::follow_try,
        )
        .page("/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/log", viewer, pages::task::log::download)
        .page("/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/mark", user, pages::task::mark::ask)
        .form("/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/mark", user, pages::task::mark::mark)
        .page("/dags/{dag_id}/tasks", viewer, pages::dag::tasks::show)
        .page("/dags/{dag_id}/trigger", user, pages::dag::trigger::show)
        .form("/dags/{dag_id}/trigger", user, pages::dag::trigger::trigger)
        .page("/dags/{dag_id}/versions", viewer, pages::dag::versions::show)
        .page("/docs", viewer, pages::reference::show)
        .page("/docs/openapi.json", viewer, api::described::openapi)
        .page("/events", viewer, pages::run::events::follow_all)
        .page("/keys", viewer, pages::keys::show)
        .page("/lake", viewer, pages::lake::show)
        .page("/lake/{namespace}/{table}", viewer, pages::lake::table::show)
        .page("/lake/{namespace}/{table}/files", viewer, pages::lake::files::show)
        .page("/lake/{namespace}/{table}/lineage", viewer, pages::lake::lineage::show)
        .page("/lake/{namespace}/{table}/partitions", viewer, pages::lake::partitions::show)
        .page("/lake/{namespace}/{table}/sample", op, pages::lake::sample::show)
        .page("/lake/{namespace}/{table}/snapshots", viewer, pages::lake::snapshots::show)
        .page("/login", Open, pages::login::show)
        .form("/login", Open, pages::login::log_in)
        .form("/logout", viewer, pages::login::log_out)
        .page("/palette", viewer, pages::palette::show)
        .page("/pools", viewer, pages::pools::show)
        .page("/pools/delete", op, pages::pools::change::ask_delete)
        .form("/pools/delete", op, pages::pools::change::delete)
        .page("/pools/edit", op, pages::pools::edit::show)
        .form("/pools/edit", op, pages::pools::change::save)
        .page("/quality", viewer, pages::quality::show)
        .page("/runs", viewer, pages::runs::show)
        .page("/runs/change", user, pages::runs::change::ask)
        .form("/runs/change", user, pages::runs::change::change)
        .page("/sql", viewer, pages::sql::show)
        .form("/sql", op, pages::sql::run::run)
        .form("/sql/download", op, pages::sql::run::download)
        .form("/sql/{query_id}/cancel", op, pages::sql::run::cancel)
        .form("/theme", viewer, pages::theme::change)
        .page("/users", admin, pages::users::show)
        .form("/users", admin, pages::users::add)
        .page("/users/{user_name}", admin, pages::users::user::show)
        .page("/users/{user_name}/delete", admin, pages::users::change::ask_delete)
        .form("/users/{user_name}/delete", admin, pages::users::change::delete)
        .form("/users/{user_name}/disabled", admin, pages::users::change::disabled)
        .form("/users/{user_name}/password", admin, pages::users::change::password)
        .form("/users/{user_name}/role", admin, pages::users::change::role)
        .page("/variables", viewer, pages::variables::show)
        .page("/variables/delete", op, pages::variables::change::ask_delete)
        .form("/variables/delete", op, pages::variables::change::delete)
        .page("/variables/edit", op, pages::variables::edit::show)
        .form("/variables/edit", op, pages::variables::change::save)
        .page("/variables/export", op, pages::variables::transfer::export)
        .page("/variables/import", op, pages::variables::transfer::ask_import)
        .form("/variables/import", op, pages::variables::transfer::import)
        .page("/workers", viewer, pages::workers::show)
        .form("/zone", viewer, pages::zone::change)
}
