//! Detects that the database was restored into another Postgres cluster. Transaction ids are valid only in their
//! cluster: a run with a `fold_xmin` of the old cluster would miss outcomes until the new cluster has counted as far,
//! perhaps forever.

use crate::StoreResult;
use crate::setting::{set_setting, setting};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

const KEY: &str = "cluster";
/// Advisory lock. If several processes start together, only one resets the transaction ids.
const LOCK: i64 = 0x6f72_6368_686f;
/// SQLSTATE: the login may not read the identifier of the cluster.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Resets stored transaction ids of another cluster, and returns the number of affected runs. Every process calls this
/// when it starts.
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
    // Every transaction id of this cluster is below the next one, so higher ones are foreign. Rows of `unfolded` may
    // keep foreign ids, because a fold reads all ids from 0 on.
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
