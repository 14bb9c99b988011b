//! Routes of lake tables, SQL, dashboards, and servers of bundles.

use crate::auth::Role;
use crate::openapi::queries::listed;
use crate::routes::{Access, Routes};
use crate::{api, behind};
use Access::{Login, Open};
use orch_store::lake_view::LakeTable;
use orch_store::query_history::QUERIES;

pub(super) fn routes(routes: Routes) -> Routes {
    let viewer = Login(Role::Viewer);
    let op = Login(Role::Op);
    routes
        .group("The lake")
        .get("/api/orch/v1/lake/tables", viewer, api::lake::list)
        .does("Lists the tables of the lake with their sizes")
        .asks(listed(api::lake::COLUMNS))
        .gives::<api::lake::TablePage>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}", viewer, api::lake::get)
        .does("A table: columns, partitions, properties, refs")
        .gives::<LakeTable>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}/files", viewer, api::lake::files)
        .does("The files that a snapshot is made of")
        .asks_for::<api::lake::LakePageParams>()
        .asks_for::<api::lake::SnapshotParams>()
        .gives::<api::lake::FilePage>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}/partitions", viewer, api::lake::partitions)
        .does("What is in each partition")
        .asks_for::<api::lake::LakePageParams>()
        .gives::<api::lake::PartitionPage>()
        .get("/api/orch/v1/lake/tables/{namespace}/{table}/snapshots", viewer, api::lake::snapshots)
        .does("What was written when, and the run that did, newest first")
        .asks_for::<api::lake::LakePageParams>()
        .gives::<api::lake::SnapshotPage>()
        .get("/api/orch/v1/sql", viewer, api::sql::list)
        .does("Your own queries, newest first")
        .asks(listed(QUERIES.columns))
        .gives::<api::sql::QueryPage>()
        .post("/api/orch/v1/sql", op, api::sql::run_query)
        .does("Asks the lake in SQL")
        .takes::<api::sql::SqlBody>()
        .gives::<api::sql::SqlAnswer>()
        .delete("/api/orch/v1/sql/{query_id}", op, api::sql::cancel)
        .does("Cancels a query that runs")
        .gives_nothing()
        .get("/api/orch/v1/dashboards", viewer, api::dashboards::list)
        .does("Lists dashboards")
        .asks(listed(api::dashboards::COLUMNS))
        .gives::<api::dashboards::DashboardPage>()
        .get("/api/orch/v1/dashboards/{dashboard_name}", viewer, api::dashboards::get)
        .does("The rows of each panel of a dashboard, or the problem of its query")
        .asks_for::<api::dashboards::DashboardParams>()
        .gives::<api::dashboards::DashboardRows>()
        .get("/catalog/{*path}", Open, behind::catalog)
        .reads_anything()
        .post("/catalog/{*path}", Open, behind::catalog)
        .reads_anything()
        .delete("/catalog/{*path}", Open, behind::catalog)
        .reads_anything()
        .get("/serving", Open, behind::to_docs)
        .reads_anything()
        .get("/serving/", Open, behind::to_docs)
        .reads_anything()
        .get("/serving/{*path}", Open, behind::serving)
        .reads_anything()
}
