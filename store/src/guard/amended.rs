//! Migrations whose text had to change after a release. In databases that used the old text, the recorded checksum is
//! updated.

use crate::{MIGRATOR, StoreResult};
use sqlx::postgres::PgConnection;

/// Versions of changed migrations, with the checksum of the old text. The old text of `protect_audit` could only be run
/// by a superuser.
const AMENDED: [(i64, &str); 1] = [(
    202_611_221_600,
    "0e5279034e8cb518637193d3eb635ad0d15b377acdb9f1d0506d785210b35701e7b7ec659e4704a95c012f05a2deec18",
)];

pub(super) async fn adopt(db: &mut PgConnection) -> StoreResult<()> {
    for (version, before) in AMENDED {
        let now = MIGRATOR.iter().find(|one| one.version == version && one.migration_type.is_up_migration());
        let Some(now) = now else { continue };
        // This statement is not checked at compile time, because sqlx creates the table, not a migration.
        sqlx::query("update _sqlx_migrations set checksum = $2 where version = $1 and checksum = decode($3, 'hex')")
            .bind(version)
            .bind(&*now.checksum)
            .bind(before)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
