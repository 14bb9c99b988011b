//! Migrations whose text had to change after a release: databases with the old checksum get the new one.

use crate::{MIGRATOR, StoreResult};
use sqlx::postgres::PgConnection;

/// Versions, with the checksum of the old text. Only a superuser could run `protect_audit`.
const AMENDED: [(i64, &str); 1] = [(
    202_611_221_600,
    "0e5279034e8cb518637193d3eb635ad0d15b377acdb9f1d0506d785210b35701e7b7ec659e4704a95c012f05a2deec18",
)];

pub(super) async fn adopt(db: &mut PgConnection) -> StoreResult<()> {
    for (version, before) in AMENDED {
        let now = MIGRATOR.iter().find(|one| one.version == version && one.migration_type.is_up_migration());
        let Some(now) = now else { continue };
        // Not checked at compile time: sqlx creates this table, no migration does.
        sqlx::query("update _sqlx_migrations set checksum = $2 where version = $1 and checksum = decode($3, 'hex')")
            .bind(version)
            .bind(&*now.checksum)
            .bind(before)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
