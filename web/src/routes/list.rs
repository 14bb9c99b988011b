//! The list of routes, each with its role, description, parameters, body, response and handler. API routes are grouped
//! by subject, in the order of `/docs`; pages follow. A route without a role cannot be added.

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
