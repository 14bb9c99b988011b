//! The list itself: every route with who may use it, what it takes and gives, and who answers. The API is sorted by path,
//! then come the pages. A route without a rule cannot be written down.

mod airflow;
mod own;
mod people;
mod runs;

use super::{Access, Routes};
use crate::auth::Role;
use crate::state::App;
use crate::{api, assets, behind, health, metrics};
use Access::{Login, Open};

/// The whole list: the API sorted by path, then the pages.
pub(super) fn routes(app: &App) -> Routes {
    let viewer = Login(Role::Viewer);
    let op = Login(Role::Op);
    let routes = Routes::new(app)
        .post("/auth/token", Open, api::login::token)
        .takes::<api::login::LoginBody>()
        .creates::<api::login::Token>()
        .post("/auth/token/cli", Open, api::login::cli_token)
        .takes::<api::login::LoginBody>()
        .creates::<api::login::Token>()
        .post("/auth/logout", viewer, api::login::log_out)
        .gives_nothing()
        .get("/connectors", viewer, api::connectors::list)
        .get("/connectors/{stream_name}", viewer, api::connectors::get)
        .put("/connectors/{stream_name}/pause", op, api::connectors::pause)
        .post("/connectors/{stream_name}/restart", op, api::connectors::restart)
        .put("/connectors/{stream_name}/resume", op, api::connectors::resume)
        .get("/connectors/{stream_name}/status", viewer, api::connectors::status)
        .post("/connectors/{stream_name}/tasks/{task}/restart", op, api::connectors::restart_task)
        .get("/healthz", Open, health::alive)
        .get("/metrics", viewer, metrics::show)
        .get("/readyz", Open, health::ready)
        .get("/catalog/{*path}", Open, behind::catalog)
        .post("/catalog/{*path}", Open, behind::catalog)
        .delete("/catalog/{*path}", Open, behind::catalog)
        .get("/serving", Open, behind::to_docs)
        .get("/serving/", Open, behind::to_docs)
        .get("/serving/{*path}", Open, behind::serving);
    let routes = own::routes(routes);
    let routes = airflow::routes(routes);
    let routes = runs::routes(routes);
    let routes = airflow::the_rest(routes).get("/openapi.json", viewer, api::described::openapi).get(
        "/static/{hash}/{name}",
        Open,
        assets::serve,
    );
    people::routes(routes)
}
