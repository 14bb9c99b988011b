//! DAGs, their versions, presets and files.

use crate::api;
use crate::auth::Role;
use crate::openapi::kinds::{Param, QueryParamType, param};
use crate::openapi::queries::{listed, mask};
use crate::routes::{Access, Routes};
use Access::Login;
use orch_store::dag::{DAGS, TAGS};
use orch_store::import_error::IMPORT_ERRORS;
use orch_store::preset::PRESETS;
use orch_store::version::VERSIONS;

pub(super) fn routes(routes: Routes) -> Routes {
    let viewer = Login(Role::Viewer);
    let user = Login(Role::User);
    let admin = Login(Role::Admin);
    routes
        .group("DAGs")
        .get("/api/v2/dags", viewer, api::dags::list)
        .does("Lists DAGs")
        .asks(dags())
        .gives::<api::dags::DagPage>()
        .patch("/api/v2/dags", user, api::dags::patch_all)
        .does("Pauses or unpauses all that a list with the same filters shows")
        .asks(dags())
        .asks([mask(&["is_paused"])])
        .takes::<api::dags::DAGPatchBody>()
        .gives::<api::dags::DagPage>()
        .get("/api/v2/dags/{dag_id}", viewer, api::dags::get)
        .does("A DAG")
        .gives::<api::dags::DagView>()
        .patch("/api/v2/dags/{dag_id}", user, api::dags::patch)
        .does("Pauses or unpauses a DAG")
        .asks([mask(&["is_paused"])])
        .takes::<api::dags::DAGPatchBody>()
        .gives::<api::dags::DagView>()
        .delete("/api/v2/dags/{dag_id}", admin, api::dags::delete)
        .does("Deletes a DAG with all its runs")
        .get("/api/v2/dags/{dag_id}/dagVersions", viewer, api::versions::list)
        .does("The versions of a DAG, or of all with `~`")
        .asks(listed(VERSIONS.columns))
        .gives::<api::versions::DagVersionPage>()
        .get("/api/v2/dags/{dag_id}/dagVersions/{version_number}", viewer, api::versions::get)
        .does("A version")
        .gives::<api::versions::DagVersionView>()
        .get("/api/v2/dags/{dag_id}/details", viewer, api::dags::details)
        .does("A DAG with its params, times and limits")
        .gives::<api::dags::DagDetails>()
        .get("/api/orch/v1/dags/{dag_id}/diff", viewer, api::version_history::diff)
        .does("What is different between two versions of a DAG")
        .asks([
            param("from", QueryParamType::Small, "A version's number; that before `to` without it"),
            param("to", QueryParamType::Small, "A version's number; the newest without it"),
        ])
        .gives::<api::version_history::DiffView>()
        .post("/api/v2/dags/{dag_id}/favorite", viewer, api::dags::favorite)
        .does("Makes a DAG one of your favorites")
        .gives_nothing()
        .get("/api/orch/v1/dags/{dag_id}/presets", viewer, api::presets::list)
        .does("Lists the presets of a DAG: params under a name")
        .asks(listed(PRESETS.columns))
        .gives::<api::presets::PresetPage>()
        .get("/api/orch/v1/dags/{dag_id}/presets/{preset_name}", viewer, api::presets::get)
        .does("A preset")
        .gives::<api::presets::PresetView>()
        .put("/api/orch/v1/dags/{dag_id}/presets/{preset_name}", user, api::presets::put)
        .does("Keeps a preset, in place of one of that name")
        .takes::<api::presets::PresetBody>()
        .gives::<api::presets::PresetView>()
        .delete("/api/orch/v1/dags/{dag_id}/presets/{preset_name}", user, api::presets::delete)
        .does("Deletes a preset")
        .gives_nothing()
        .get("/api/orch/v1/dags/{dag_id}/structure", viewer, api::tasks::whole)
        .does("The whole structure of a DAG, or of a version of it")
        .asks([param("version_number", QueryParamType::Small, "Of that version; of the newest without it")])
        .gives::<api::tasks::Structure>()
        .get("/api/v2/dags/{dag_id}/tasks", viewer, api::tasks::list)
        .does("The tasks of a DAG")
        .asks([param(
            "order_by",
            QueryParamType::Order(api::tasks::ORDERS),
            "The field to sort by; `-` in front of it reverses the order",
        )])
        .gives::<api::tasks::TaskPage>()
        .get("/api/v2/dags/{dag_id}/tasks/{task_id}", viewer, api::tasks::get)
        .does("A task")
        .gives::<api::tasks::TaskView>()
        .post("/api/v2/dags/{dag_id}/unfavorite", viewer, api::dags::unfavorite)
        .does("Makes it none any more")
        .gives_nothing()
        .get("/api/orch/v1/dags/{dag_id}/versions", viewer, api::version_history::list)
        .does("The versions of a DAG with their runs and workers, the newest first")
        .gives::<api::version_history::VersionPage>()
        .get("/api/v2/dagSources/{dag_id}", viewer, api::dag_tags::source)
        .does("The structure of a version, as JSON text")
        .asks([param("version_number", QueryParamType::Small, "The newest without it")])
        .gives::<api::dag_tags::DagSource>()
        .or_text()
        .get("/api/v2/dagStats", viewer, api::dag_tags::stats)
        .does("How many runs are in each state")
        .asks([param("dag_ids", QueryParamType::Texts, "All without it")])
        .gives::<api::dag_tags::StatsPage>()
        .get("/api/v2/dagTags", viewer, api::dag_tags::list)
        .does("All tags")
        .asks(listed(TAGS.columns))
        .gives::<api::dag_tags::TagPage>()
        .get("/api/v2/dagWarnings", viewer, api::settings::dag_warnings)
        .does("Warnings about DAGs: always empty")
        .asks(listed(api::settings::WARNING_COLUMNS))
        .gives::<api::settings::DagWarningPage>()
        .get("/api/orch/v1/importErrors", viewer, api::import_errors::list_problems)
        .does("Lists broken DAG files with all that is wrong, by line and column")
        .asks(listed(IMPORT_ERRORS.columns))
        .gives::<api::import_errors::BrokenFilePage>()
        .get("/api/v2/importErrors", viewer, api::import_errors::list)
        .does("DAG files that cannot be loaded, with line and column")
        .asks(listed(IMPORT_ERRORS.columns))
        .gives::<api::import_errors::ImportErrorPage>()
        .get("/api/v2/importErrors/{import_error_id}", viewer, api::import_errors::get)
        .does("One of them")
        .gives::<api::import_errors::ImportErrorView>()
}

fn dags() -> Vec<Param> {
    let mut all = listed(DAGS.columns);
    all.extend([
        param(api::dags::TAGS, QueryParamType::Texts, "With these tags"),
        param(api::dags::TAGS_MODE, QueryParamType::Word(api::dags::TAGS_MODES), "One of the tags, or all"),
        param(api::dags::FAVORITE, QueryParamType::Flag, "The caller's favorites, or all others"),
    ]);
    all
}
