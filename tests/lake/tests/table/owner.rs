//! Two catalogs with the same warehouse folder, as in two installations that were configured with the same path.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use crate::world::{definition, named, orders, rows_of};
use chrono::TimeDelta;
use orch_lake::bucket::Options;
use orch_lake::table::maintain::{Compaction, Expiry, Orphans, Upkeep};
use orch_lake::{Filter, Lake, LakeConfig, LakeError, LakeResult, TableName};
use orch_store::MIGRATOR;
use orch_test_support::TestDb;
use orch_test_support::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tempfile::TempDir;

const MARKER: &str = "_orch_owner.json";
/// Later than all writes, and late enough for unreferenced files to count as orphans.
const DAYS_AHEAD: TimeDelta = TimeDelta::days(4);

/// An installation: a catalog and what its tables contain.
struct Installation {
    db: TestDb,
    lake: Lake,
    tables: BTreeMap<TableName, BTreeSet<i64>>,
}

impl Installation {
    async fn new(folder: &Path) -> Installation {
        let db = TestDb::new(&MIGRATOR).await;
        let lake = opened(&db, folder);
        Installation { db, lake, tables: BTreeMap::new() }
    }

    /// Reopens the lake, as after a restart of the process.
    fn restart(&mut self, folder: &Path) {
        self.lake = opened(&self.db, folder);
    }

    async fn check(&self, what: &str) {
        for (name, ids) in &self.tables {
            let table = self.lake.table(name).await.unwrap();
            let found = rows_of(&table).await;
            let found: BTreeSet<i64> =
                found.iter().map(|row| row.split(' ').next().unwrap().parse().unwrap()).collect();
            assert_eq!(found, *ids, "{name} after {what}");
        }
    }
}

fn opened(db: &TestDb, folder: &Path) -> Lake {
    let warehouse = format!("file://{}", folder.display());
    Lake::open(LakeConfig { catalog: db.pool(), name: "orch".into(), warehouse, storage: Options::default() }).unwrap()
}

async fn write(lake: &Lake, name: &TableName, id: i64) -> LakeResult<()> {
    let table = lake.ensure(name, &definition()).await?;
    table.append(orders(&[(id, "TX", 1, 100)])).await?.commit(lake).await.map(drop)
}

fn is_foreign(error: &LakeError) -> bool {
    matches!(error, LakeError::Input { what, .. } if what.contains("belongs to catalog"))
}

#[tokio::test]
async fn a_warehouse_of_another_catalog_is_refused_until_it_is_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (Installation::new(folder.path()).await, Installation::new(folder.path()).await);
    let name = named("retail.orders");
    write(&first.lake, &name, 1).await.unwrap();
    let refused = write(&second.lake, &name, 2).await.unwrap_err();
    assert!(is_foreign(&refused) && refused.to_string().contains("orch lake adopt"), "{refused}");

    let previous = first.lake.owner().await.unwrap();
    let adopted = second.lake.adopt().await.unwrap();
    assert!(adopted.previous == previous && previous.is_some_and(|owner| owner.catalog != adopted.owner.catalog));
    assert_eq!(first.lake.owner().await.unwrap(), Some(adopted.owner));
    write(&second.lake, &name, 2).await.unwrap();
    first.restart(folder.path());
    let later = first.lake.now().await.unwrap() + DAYS_AHEAD;
    let table = first.lake.table(&name).await.unwrap();
    let refusals = [
        table.append(orders(&[(3, "TX", 1, 100)])).await.unwrap().commit(&first.lake).await.map(drop),
        first.lake.remove_orphans(&name, &Orphans::new(), later).await.map(drop),
        first.lake.expire(&name, &Expiry::new(), later).await.map(drop),
        first.lake.purge(&name).await.map(drop),
    ];
    assert!(refusals.iter().all(|one| one.as_ref().is_err_and(is_foreign)), "{refusals:?}");
    // Both tables are in the same folder, and the new owner maintains its table.
    second.lake.remove_orphans(&name, &Orphans::new(), later).await.unwrap();
    first.tables.insert(name.clone(), [1].into());
    second.tables.insert(name, [2].into());
    first.check("the other's upkeep").await;
    second.check("its upkeep").await;
}

/// The error for an unreadable marker suggests `orch lake adopt`, so that has to work.
#[tokio::test]
async fn an_unreadable_marker_is_replaced_by_adopting() {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::new(folder.path()).await;
    std::fs::write(folder.path().join(MARKER), "{").unwrap();
    let name = named("retail.orders");
    let refused = write(&installation.lake, &name, 1).await.unwrap_err().to_string();
    assert!(refused.contains(MARKER) && refused.contains("orch lake adopt"), "{refused}");
    assert_eq!(installation.lake.adopt().await.unwrap().previous, None);
    write(&installation.lake, &name, 1).await.unwrap();
}

#[tokio::test]
async fn the_first_of_two_writers_owns_a_warehouse() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let warehouse = folder.path().join(round.to_string());
        let (first, second) = (Installation::new(&warehouse).await, Installation::new(&warehouse).await);
        let name = named("retail.orders");
        let (one, other) = tokio::join!(write(&first.lake, &name, 1), write(&second.lake, &name, 2));
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        let refused = one.err().or(other.err()).unwrap();
        assert!(is_foreign(&refused), "{refused}");
    }
}

#[tokio::test]
async fn files_of_expired_snapshots_are_deleted_after_a_delay() {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::new(folder.path()).await;
    let lake = installation.lake.clone();
    let name = named("retail.orders");
    for id in 0..4 {
        write(&lake, &name, id).await.unwrap();
    }
    // A query is planned before the table is compacted and its old snapshots expire.
    let planned = lake.table(&name).await.unwrap();
    lake.compact(&name, &Compaction::new().min_files(2)).await.unwrap();
    let now = lake.now().await.unwrap() + DAYS_AHEAD;
    let expiry = Expiry::new().keep_last(1).older_than(now);
    let expired = lake.expire(&name, &expiry, now).await.unwrap();
    assert!(expired.snapshots.len() == 4 && expired.files >= 8 && expired.deleted == 0, "{expired:?}");
    let in_time = now + TimeDelta::hours(23);
    let orphans = lake.remove_orphans(&name, &Orphans::new(), in_time).await.unwrap();
    assert_eq!((orphans.files, lake.delete_expired(&name, in_time).await.unwrap()), (0, 0));
    assert_eq!(rows_of(&planned).await.len(), 4, "the query still finds its files");

    let files = parquet_files(folder.path());
    let deleted = lake.delete_expired(&name, now + TimeDelta::hours(24)).await.unwrap();
    assert_eq!((deleted, files - parquet_files(folder.path())), (expired.files, 4));
    assert_eq!(rows_of(&lake.table(&name).await.unwrap()).await.len(), 4);
    let none_left = lake.remove_orphans(&name, &Orphans::new().nobody_writes().only_count(), now).await.unwrap();
    assert_eq!(none_left.files, 0, "the list is deleted as well");
}

#[tokio::test]
async fn the_delay_of_a_table_is_its_property() {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::new(folder.path()).await;
    let lake = installation.lake.clone();
    let delay = async |name: &str, hours: &str| {
        let definition = definition().property("orch.upkeep.delete-after-hours", hours);
        lake.create(&named(name), &definition).await.unwrap().deletion_delay().map_err(|error| error.to_string())
    };
    assert_eq!(delay("retail.six", "6").await, Ok(TimeDelta::hours(6)));
    for (name, hours) in [("retail.five", "5"), ("retail.word", "soon"), ("retail.much", "70000")] {
        let refused = delay(name, hours).await.unwrap_err();
        assert!(refused.contains(hours) && refused.contains("at least 6"), "{refused}");
    }
}

/// A crash between writing the list and the commit leaves a list of files that the table still references.
#[tokio::test]
async fn files_that_the_table_has_are_not_deleted_because_a_list_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::new(folder.path()).await;
    let lake = installation.lake.clone();
    let name = named("retail.orders");
    write(&lake, &name, 1).await.unwrap();
    write(&lake, &name, 2).await.unwrap();
    let table = lake.table(&name).await.unwrap();
    let now = lake.now().await.unwrap();
    let lost: Vec<String> = table
        .files(&orch_lake::table::At::Now)
        .await
        .unwrap()
        .files
        .iter()
        .map(|file| file.file.path().to_owned())
        .collect();
    let list = folder.path().join(format!("retail/orders/expired/{}", table.metadata().uuid()));
    std::fs::create_dir_all(&list).unwrap();
    std::fs::write(list.join("000000000000001-crashed.json"), serde_json::to_vec(&lost).unwrap()).unwrap();
    assert_eq!(lake.delete_expired(&name, now).await.unwrap(), 0);
    assert_eq!(std::fs::read_dir(&list).unwrap().count(), 0, "the list is deleted");
    assert_eq!(rows_of(&lake.table(&name).await.unwrap()).await.len(), 2);
}

/// The list of a dropped table is the only record of its expired files.
#[tokio::test]
async fn a_purge_that_fails_keeps_the_list_of_files_that_it_did_not_delete() {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::new(folder.path()).await;
    let lake = installation.lake.clone();
    let name = named("retail.orders");
    write(&lake, &name, 1).await.unwrap();
    let table = lake.table(&name).await.unwrap();
    let list =
        folder.path().join(format!("retail/orders/expired/{}/000000000000001-due.json", table.metadata().uuid()));
    let stuck = folder.path().join("retail/orders/data/expired.parquet");
    std::fs::create_dir_all(list.parent().unwrap()).unwrap();
    std::fs::write(&list, serde_json::to_vec(&[format!("file://{}", stuck.display())]).unwrap()).unwrap();
    // A folder cannot be deleted as a file, so the purge fails.
    std::fs::create_dir(&stuck).unwrap();
    lake.purge(&name).await.unwrap_err();
    assert!(list.exists());

    std::fs::remove_dir(&stuck).unwrap();
    std::fs::write(&stuck, "rows").unwrap();
    lake.delete_files(&table).await.unwrap();
    assert_eq!((stuck.exists(), list.exists()), (false, false));
}

/// Runs 1,000 random steps of two installations with one warehouse. The maintenance of each uses a clock that is four
/// days ahead.
#[tokio::test]
async fn two_installations_delete_no_files_of_each_other() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let mut both = [Installation::new(folder.path()).await, Installation::new(folder.path()).await];
    let mut rng = Rng::new(57);
    let mut refused = 0;
    for step in 0..1_000 {
        let side = rng.below(2);
        let name = named(["retail.orders", "retail.items"][rng.below(2)]);
        let now = both[0].lake.now().await.unwrap() + DAYS_AHEAD;
        let what = format!("step {step} of installation {side}");
        let installation = &mut both[side];
        let (lake, id) = (installation.lake.clone(), i64::from(step));
        let done = match rng.below(20) {
            0..8 => {
                let done = write(&lake, &name, id).await;
                if done.is_ok() {
                    installation.tables.entry(name.clone()).or_default().insert(id);
                } else if lake.find(&name).await.unwrap().is_some() {
                    installation.tables.entry(name.clone()).or_default();
                }
                done
            }
            8 => match lake.find(&name).await.unwrap() {
                Some(table) => {
                    let change = table.overwrite(Filter::All, orders(&[(id, "TX", 1, 1)])).await.unwrap();
                    let done = change.commit(&lake).await.map(drop);
                    if done.is_ok() {
                        installation.tables.insert(name.clone(), [id].into());
                    }
                    done
                }
                None => Ok(()),
            },
            9 => {
                // After a restart, the process checks the owner at its next commit.
                installation.restart(folder.path());
                Ok(())
            }
            10 => lake.adopt().await.map(drop),
            11 => {
                // An earlier version wrote no marker.
                drop(std::fs::remove_file(folder.path().join(MARKER)));
                let ([one, other], expiry) = (&both, Expiry::new());
                let (one, other) =
                    tokio::join!(one.lake.expire(&name, &expiry, now), other.lake.expire(&name, &expiry, now));
                assert!(one.is_err() || other.is_err() || folder.path().join(MARKER).exists());
                Ok(())
            }
            12 => {
                let done = lake.purge(&name).await.map(drop);
                if done.is_ok() {
                    installation.tables.remove(&name);
                }
                done
            }
            13 => {
                lake.drop(&name).await.unwrap();
                installation.tables.remove(&name);
                Ok(())
            }
            _ if !installation.tables.contains_key(&name) => Ok(()),
            _ => {
                let expiry = Expiry::new().keep_last(1 + rng.below(3)).older_than(now);
                let asked = Upkeep {
                    compaction: Some(Compaction::new().min_files(2)),
                    merge_manifests: true,
                    expiry: Some(if rng.below(2) == 0 { expiry.nobody_reads() } else { expiry }),
                    orphans: Some(Orphans::new()),
                };
                lake.keep_up(&name, &asked, None, now).await.map(drop)
            }
        };
        match done {
            Ok(()) => {}
            Err(error) if is_foreign(&error) => refused += 1,
            Err(LakeError::NoTable { .. }) => {}
            Err(error) => panic!("{what}: {error:?}"),
        }
        for installation in &both {
            installation.check(&what).await;
        }
    }
    assert!(refused > 100, "{refused} steps were refused");
}

fn parquet_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let count = |path: std::path::PathBuf| {
        if path.is_dir() {
            return parquet_files(&path);
        }
        usize::from(path.extension().is_some_and(|extension| extension == "parquet"))
    };
    entries.map(count).sum()
}
