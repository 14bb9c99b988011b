//! Which database a connection leads to. Two connections to one database get the same answer at the same time; any two
//! databases, on one server or on two, give different ones, also if one is a copy of the other.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// When its server was started, and its number there. The server's own identifier would not do: a copy of its files has the
/// same. Everyone may ask this, and nothing is stored, so a backup has nothing to bring along.
///
/// Do not keep the answer: it is another one after each restart of the server.
#[boxed]
pub async fn identity(db: &mut PgConnection) -> StoreResult<String> {
    let identity = sqlx::query_scalar(
        "select concat((extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint, '/', oid)
        from pg_database where datname = current_database()",
    );
    Ok(identity.fetch_one(db).await?)
}
