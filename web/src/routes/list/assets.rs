//! Assets, their events and how good their data is.

use crate::api;
use crate::auth::Role;
use crate::openapi::kinds::{Param, QueryParamType, param};
use crate::openapi::queries::listed;
use crate::routes::{Access, Routes};
use Access::Login;
use orch_store::asset::{ALIASES, ASSETS, CHECKS, EVENTS, check_by};

pub(super) fn routes(routes: Routes) -> Routes {
    let viewer = Login(Role::Viewer);
    let user = Login(Role::User);
    routes
        .group("Assets")
        .get("/api/orch/v1/assets", viewer, api::assets::list_extra)
        .does("Lists assets with how fresh they are")
        .asks(listed(ASSETS.columns))
        .gives::<api::assets::ExtraPage>()
        .get("/api/v2/assets", viewer, api::assets::list)
        .does("Lists assets")
        .asks(listed(ASSETS.columns))
        .gives::<api::assets::AssetPage>()
        .get("/api/v2/assets/aliases", viewer, api::assets::aliases)
        .does("Lists aliases of assets")
        .asks(listed(ALIASES.columns))
        .gives::<api::assets::AliasPage>()
        .get("/api/v2/assets/aliases/{asset_alias_id}", viewer, api::assets::alias)
        .does("An alias")
        .gives::<api::assets::AliasView>()
        .get("/api/orch/v1/assets/checks", viewer, api::assets::checks_of_uri)
        .does("What contracts found of the data at a URI, newest first")
        .asks(listed(check_by::OF_URI))
        .gives::<api::assets::CheckPage>()
        .get("/api/orch/v1/assets/dependencies", viewer, api::assets::dependencies)
        .does("Which DAGs produce which assets, read them and wait for them, and which DAGs start or wait for others")
        .gives::<api::assets::DependencyPage>()
        .get("/api/v2/assets/events", viewer, api::assets::list_events)
        .does("Lists updates of assets with the runs that followed")
        .asks(listed(EVENTS.columns))
        .gives::<api::assets::EventPage>()
        .post("/api/v2/assets/events", user, api::assets::create_event)
        .does("Says that an asset was updated")
        .takes::<api::assets::CreateAssetEventsBody>()
        .gives::<api::assets::EventView>()
        .get("/api/orch/v1/assets/{asset_id}", viewer, api::assets::extra)
        .does("How fresh an asset is, who waits for it, and its lineage")
        .gives::<api::assets::ExtraView>()
        .get("/api/v2/assets/{asset_id}", viewer, api::assets::get)
        .does("An asset")
        .gives::<api::assets::AssetView>()
        .get("/api/orch/v1/assets/{asset_id}/checks", viewer, api::assets::list_checks)
        .does("What contracts found of the data of an asset")
        .asks(listed(CHECKS.columns))
        .gives::<api::assets::CheckPage>()
        .post("/api/v2/assets/{asset_id}/materialize", user, api::assets::materialize)
        .does("Runs the one DAG that produces an asset")
        .takes::<api::assets::MaterializeAssetBody>()
        .gives::<api::dag_runs::DagRunView>()
        .get("/api/v2/assets/{asset_id}/queuedEvents", viewer, api::assets::of_asset)
        .does("What DAGs have not consumed of an asset")
        .asks([queued_before()])
        .gives::<api::assets::QueuedPage>()
        .delete("/api/v2/assets/{asset_id}/queuedEvents", user, api::assets::delete_of_asset)
        .does("Forgets what DAGs have not consumed of an asset")
        .asks([queued_before()])
        .gives_nothing()
        .get("/api/v2/dags/{dag_id}/assets/queuedEvents", viewer, api::assets::of_dag)
        .does("What a DAG has not consumed")
        .asks([queued_before()])
        .gives::<api::assets::QueuedPage>()
        .delete("/api/v2/dags/{dag_id}/assets/queuedEvents", user, api::assets::delete_of_dag)
        .does("Forgets what a DAG has not consumed")
        .asks([queued_before()])
        .gives_nothing()
        .get("/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", viewer, api::assets::queued_one)
        .does("Whether a DAG has not consumed an asset")
        .asks([queued_before()])
        .gives::<api::assets::QueuedView>()
        .delete("/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", user, api::assets::delete_one)
        .does("Forgets what a DAG has not consumed of an asset")
        .asks([queued_before()])
        .gives_nothing()
        .get("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", viewer, api::assets::upstream)
        .does("The updates that began a run")
        .gives::<api::assets::EventPage>()
        .get("/api/orch/v1/quality", viewer, api::quality::report)
        .does("How good the data is: freshness and checks of all assets, the worst first")
        .gives::<api::quality::QualityReport>()
}

fn queued_before() -> Param {
    param("before", QueryParamType::Moment, "Only what was queued earlier")
}
