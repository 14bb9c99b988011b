//! Routes of pools, connections, variables and announcements.

use crate::api;
use crate::auth::Role;
use crate::openapi::kept::BodyOf;
use crate::routes::{Access, Routes};
use Access::Login;
use orch_deeds::kept::Announcement;
use orch_deeds::{Connection, Pool, Variable};

pub(super) fn routes(routes: Routes) -> Routes {
    let (viewer, op) = (Login(Role::Viewer), Login(Role::Op));
    routes
        .group("Pools")
        .kept::<Pool>()
        .group("Connections and variables")
        .kept::<Connection>()
        .kept::<Variable>()
        .get("/api/orch/v1/defaultConnections", viewer, api::default_connections::list)
        .does("The connections that the binary of this server brings")
        .gives::<api::default_connections::DefaultConnections>()
        .post("/api/v2/connections/test", op, api::connection_test::test)
        .does("Tries a connection, if this server may")
        .takes::<BodyOf<Connection>>()
        .gives::<api::connection_test::ConnectionTest>()
        .group("Announcements")
        .kept::<Announcement>()
}
