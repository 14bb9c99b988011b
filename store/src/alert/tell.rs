//! Alerts that schedulers write, because no task writes them: about assets that became stale, and about failed checks.
//! The asset or check is marked as reported in the transaction that writes its alerts.

use super::add_alerts;
use crate::{
    StoreResult,
    asset::{StaleAsset, mark_stale},
    boxed,
    version::Versions,
};
use orch_core::alert::{FailedCheck, of_failed_check, of_stale_asset};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// Marks assets that became stale, and writes the alerts of the DAGs whose tasks update these assets.
#[boxed]
pub async fn tell_of_stale(db: &mut PgConnection, versions: &Versions, most: i64) -> StoreResult<Vec<StaleAsset>> {
    let mut tx = db.begin().await?;
    let marked = mark_stale(&mut tx, most).await?;
    for asset in &marked {
        let of = sqlx::query_scalar!(
            "select distinct d.version from asset_use u join dag d on d.dag_id = u.dag_id
            where u.asset = $1 and u.role = 'outlet' and not d.is_stale order by d.version",
            asset.id
        );
        for version in of.fetch_all(&mut *tx).await? {
            let version = versions.get(&mut tx, version).await?;
            add_alerts(&mut tx, None, &of_stale_asset(&version.plan.spec, &asset.uri, asset.since)).await?;
        }
    }
    tx.commit().await?;
    Ok(marked)
}

/// Writes the alerts of at most `most` failed checks, and returns the number of checks.
#[boxed]
pub async fn tell_of_checks(db: &mut PgConnection, versions: &Versions, most: i64) -> StoreResult<usize> {
    let mut tx = db.begin().await?;
    let rows = sqlx::query!(
        "with told as (update asset_check set told = true where id = any(array(select id from asset_check
            where not told and outcome in ('fail', 'quarantined') order by id limit $1 for update skip locked)) returning *)
        select t.id, t.uri, t.name, t.outcome, t.rows, t.bad, t.run, t.task_id, t.map_index, t.try_no, r.version
        from told t join dag_run r on r.id = t.run order by t.id",
        most
    );
    let rows = rows.fetch_all(&mut *tx).await?;
    let many = rows.len();
    for row in rows {
        let version = versions.get(&mut tx, row.version).await?;
        let check = FailedCheck {
            id: row.id,
            uri: row.uri,
            name: row.name,
            outcome: row.outcome,
            bad: row.bad,
            rows: row.rows,
            task_id: row.task_id,
            map_index: row.map_index,
            try_number: row.try_no,
        };
        add_alerts(&mut tx, Some(row.run), &of_failed_check(&version.plan.spec, &check)).await?;
    }
    tx.commit().await?;
    Ok(many)
}
