//! The list itself: every route with who may use it, what it does, what it takes and gives, and who answers. The API comes by
//! groups, as people read it at `/docs`; then come the pages. A route without a rule cannot be written down.

mod assets;
mod dags;
mod instances;
mod kept;
mod lake;
mod people;
mod runs;
mod server;
mod streams;

use super::Routes;

pub(super) fn routes() -> Routes {
    [
        dags::routes,
        runs::routes,
        instances::routes,
        assets::routes,
        lake::routes,
        streams::routes,
        kept::routes,
        server::routes,
        people::routes,
    ]
    .into_iter()
    .fold(Routes::default(), |routes, group| group(routes))
}
