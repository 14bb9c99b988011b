//! A table with hourly commits and daily maintenance: the number of files does not grow with its age.

use crate::world::{World, by_state, many, named, world};
use chrono::DateTime;
use orch_lake::table::maintain::{Compacted, Compaction, Expiry, Orphans, Share, Upkeep};
use orch_lake::{Table, TableDef};

const DAYS: i64 = 4;
/// Value of `history.expire.min-snapshots-to-keep`. The maximum age of snapshots is 1 ms, so all others expire.
const KEPT: usize = 3;

fn everything(table: &Table) -> Upkeep {
    Upkeep {
        compaction: table.usual_compaction().ok(),
        merge_manifests: true,
        expiry: Some(table.usual_expiry().nobody_reads()),
        orphans: Some(Orphans::new()),
    }
}

async fn a_day(world: &World, table: Table, first: i64) -> Table {
    let mut table = table;
    for hour in 0..24 {
        let rows = many(first + hour * 6, 6);
        let change = table.append(rows).await.expect("files are written");
        table = change.commit(&world.lake).await.expect("the commit succeeds").table;
    }
    table
}

#[tokio::test]
async fn days_of_hourly_commits_leave_a_bounded_number_of_files() {
    let world = world().await;
    let definition = by_state()
        .property("history.expire.max-snapshot-age-ms", "1")
        .property("history.expire.min-snapshots-to-keep", KEPT.to_string())
        .property("write.metadata.previous-versions-max", "10")
        .property("write.metadata.delete-after-commit.enabled", "true");
    let mut table = world.table("retail.orders", definition).await;
    let mut left = Vec::new();
    for day in 0..DAYS {
        table = a_day(&world, table, day * 24 * 6).await;
        let live = table.statistics().await.unwrap();
        assert!(live.partitions.iter().all(|partition| partition.data_files >= 24), "{live:?}");
        let now = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
        assert!(table.needs(&everything(&table), now).await.unwrap());
        let kept = world.lake.keep_up(table.name(), &everything(&table), None, now).await.unwrap();
        assert!(kept.compacted.files_before >= 72 && kept.compacted.files_after == 3, "{kept:?}");
        table = world.lake.table(table.name()).await.unwrap();
        assert_eq!(table.metadata().snapshots().len(), KEPT);
        left.push((world.files(".parquet"), world.files(".avro")));
        let only_now = Upkeep { orphans: None, ..everything(&table) };
        assert!(!table.needs(&only_now, now).await.unwrap(), "what is done is done");
    }
    assert_eq!(table.count().await.unwrap(), 24 * 6 * DAYS as u64);
    // The kept snapshots reference the files of the day's commits, the files that the compaction wrote, and from the
    // second day on the files of the previous compaction.
    assert!(left[1..].iter().all(|files| *files == left[1]), "{left:?}");
}

#[tokio::test]
async fn shares_that_are_compacted_at_the_same_time_leave_what_one_compaction_leaves() {
    let world = world().await;
    let table = a_day(&world, world.table("retail.orders", by_state()).await, 0).await;
    let asked = Compaction::new();
    let bytes = table.bytes_to_compact(&asked).await.unwrap();
    let all: u64 = table.statistics().await.unwrap().partitions.iter().map(|partition| partition.bytes).sum();
    assert_eq!(bytes, all, "every file is small");
    let shares = (0..4).map(|number| {
        let share = Share { number, of: 4 };
        let upkeep = Upkeep { compaction: Some(asked.clone().share(share)), ..Upkeep::default() };
        let (lake, name) = (world.lake.clone(), table.name().clone());
        async move { lake.keep_up(&name, &upkeep, None, DateTime::UNIX_EPOCH).await.unwrap().compacted }
    });
    let done = futures::future::join_all(shares).await;
    let sum = |of: fn(&Compacted) -> u64| done.iter().map(of).sum::<u64>();
    assert_eq!((sum(|one| one.files_before), sum(|one| one.bytes_before)), (72, bytes));
    let table = world.lake.table(table.name()).await.unwrap();
    let partitions = table.statistics().await.unwrap().partitions;
    assert!(partitions.iter().all(|partition| partition.data_files == 1), "{partitions:?}");
    assert_eq!(table.count().await.unwrap(), 24 * 6);
    assert_eq!(table.bytes_to_compact(&asked).await.unwrap(), 0);
}

#[tokio::test]
async fn a_table_says_how_it_is_looked_after() {
    let world = world().await;
    let with = |key: &str, value: &str| by_state().property(key, value);
    let table = async |name: &str, definition: TableDef| world.table(&format!("retail.{name}"), definition).await;
    let off = table("off", with("orch.upkeep", "off")).await;
    assert!(off.is_left_alone().unwrap() && !table("usual", by_state()).await.is_left_alone().unwrap());
    let odd = table("odd", with("orch.upkeep", "perhaps")).await;
    let refused = odd.is_left_alone().unwrap_err().to_string();
    assert_eq!(refused, "table `retail.odd` has the property `orch.upkeep` = `perhaps`\nhint: write `on` or `off`");
    let few = table("few", with("orch.upkeep.min-files", "2")).await;
    assert_eq!(few.usual_compaction().unwrap(), Compaction::new().min_files(2));
    let many = table("many", with("orch.upkeep.min-files", "some")).await;
    assert!(many.usual_compaction().unwrap_err().to_string().contains("a whole number"));
    // By default, a table keeps 20 snapshots of any age.
    let usual = world.lake.table(&named("retail.usual")).await.unwrap();
    assert_eq!(usual.usual_expiry(), Expiry::new().keep_last(20));
}
