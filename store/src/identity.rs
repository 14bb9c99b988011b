//! Identifies the database of a connection. At any time, two connections to the same database get the same identity.
//! Two databases get different identities, on one server or on two, even if one is a copy of the other.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// Returns the start time of the server and the number of the database. The server's own identifier is not enough,
/// because a copy of the server's files has the same one. Needs no privilege, and stores nothing that a backup would
/// contain.
///
/// Do not store the identity: it changes with each restart of the server.
#[boxed]
pub async fn identity(db: &mut PgConnection) -> StoreResult<String> {
    let identity = sqlx::query_scalar(
        "select concat((extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint, '/', oid)
        from pg_database where datname = current_database()",
    );
    Ok(identity.fetch_one(db).await?)
}
