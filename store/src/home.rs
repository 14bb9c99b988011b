//! The Postgres cluster of this database. Transaction ids belong to a cluster: after a restore into another one, a run
//! with a `fold_xmin` of the old cluster would miss outcomes until the new one has counted as far, perhaps forever.

use crate::StoreResult;
use crate::setting::{set_setting, setting};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

const KEY: &str = "cluster";
/// Advisory lock: if several processes start together, one resets the ids.
const LOCK: i64 = 0x6f72_6368_686f;
/// SQLSTATE: the login may not read the id of the cluster.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Resets transaction ids of another cluster, and returns the number of affected runs. Every process calls this at its
/// start.
pub(crate) async fn settle(db: &mut PgConnection) -> StoreResult<u64> {
    let here = sqlx::query_scalar("select system_identifier::text from pg_control_system()").fetch_one(&mut *db).await;
    let here: String = match here {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => return Ok(0),
        here => here?,
    };
    if setting(db, KEY).await?.as_ref() == Some(&here) {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    // Every id of this cluster is below the next one. Rows of `unfolded` may keep theirs: a fold takes all from 0 on.
    let reset =
        sqlx::query("update dag_run set fold_xmin = '0' where fold_xmin > pg_snapshot_xmax(pg_current_snapshot())")
            .execute(&mut *tx)
            .await?;
    set_setting(&mut tx, KEY, &here).await?;
    tx.commit().await?;
    let runs = reset.rows_affected();
    if runs > 0 {
        tracing::info!(runs, "this database was restored from another cluster: its runs are folded from the start");
    }
    Ok(runs)
}
