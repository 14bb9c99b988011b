//! A table, its expected content, and the steps that are applied to both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use futures::TryStreamExt as _;
use iceberg::spec::Transform;
use orch_lake::bucket::Options;
use orch_lake::table::At;
use orch_lake::table::evolve::{Naming, Properties, Retention};
use orch_lake::table::maintain::{Expiry, Orphans};
use orch_lake::{Change, Committed, Lake, LakeError, LakeResult, Table, TableDef, TableName};
use orch_test_lake::rows::{batch, printed};

use super::catalog::{Fault, MemoryCatalog};
use super::content::{Column, Content, ModelColumnType};
use super::race::are_separate;
use super::steps::{CityStep, Dice, Evolve, ModelStep, Write, texts};

pub(crate) struct World {
    lake: Lake,
    catalog: Arc<MemoryCatalog>,
    name: TableName,
    content: Content,
    /// Content of each snapshot when it was committed.
    seen: BTreeMap<i64, Content>,
    tags: BTreeMap<String, i64>,
    folder: tempfile::TempDir,
    /// Number of races between changes of separate regions.
    pub(crate) separate_races: usize,
    /// Number of expiries of a snapshot that a planned query had not read yet.
    pub(crate) expiries_beside_reader: usize,
    pub(crate) dice: Dice,
    /// Steps so far, printed on failure.
    pub(crate) trace: Vec<String>,
}

/// The effect of a commit on the content.
#[derive(Clone)]
enum Effect {
    None,
    Write(Write),
    Evolve(Evolve),
}

impl World {
    /// Creates an empty table, initially partitioned by `partition`.
    pub(crate) async fn new(seed: u64, partition: Option<(&str, Transform)>) -> LakeResult<Self> {
        let folder = tempfile::Builder::new().prefix("orch-model-").tempdir().unwrap();
        let warehouse = format!("file://{}", folder.path().display());
        let catalog = Arc::new(MemoryCatalog::default());
        let lake = Lake::with_catalog(catalog.clone(), Options::default(), &warehouse)?;
        let column = |id: u32, name: &str, kind| Column { name: name.into(), kind, id };
        let columns = vec![
            column(1, "city", ModelColumnType::Text),
            column(2, "amount", ModelColumnType::Int),
            column(3, "price", ModelColumnType::Decimal),
        ];
        let content = Content { columns, ..Content::default() };
        let definition = TableDef::new().required("id", iceberg::spec::PrimitiveType::Long).key(["id"]);
        let definition = content
            .columns
            .iter()
            .fold(definition, |definition, column| definition.optional(&column.name, column.kind.iceberg()));
        let definition =
            partition.into_iter().fold(definition, |definition, (column, by)| definition.partition(column, by));
        let name = TableName::new("model", "t")?;
        lake.create(&name, &definition).await?;
        let dice = Dice::new(seed);
        let (seen, tags, trace) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (separate_races, expiries_beside_reader) = (0, 0);
        Ok(Self {
            lake,
            catalog,
            name,
            content,
            seen,
            tags,
            folder,
            separate_races,
            expiries_beside_reader,
            dice,
            trace,
        })
    }

    pub(crate) async fn step(&mut self) -> LakeResult<()> {
        let step = self.dice.step(&self.content);
        self.trace.push(format!("{step:?}"));
        self.act(&step).await?;
        self.check_now().await?;
        let snapshots: Vec<i64> = self.live().await?.into_iter().collect();
        if !snapshots.is_empty() {
            let one = snapshots[self.dice.below(snapshots.len())];
            self.check_snapshot(one).await?;
        }
        Ok(())
    }

    async fn act(&mut self, step: &ModelStep) -> LakeResult<()> {
        let table = self.table().await?;
        match step {
            ModelStep::Write(_) | ModelStep::Evolve(_) | ModelStep::Compact(_) => {
                let (change, effect) = self.prepare(step, &table).await?;
                let committed = change.commit(&self.lake).await?;
                self.done(&committed, &effect);
            }
            ModelStep::Abandon(write) => drop(self.write(write, &table).await?),
            ModelStep::Mode(mode) => self.set_mode(mode).await?,
            ModelStep::MergeManifests => drop(self.lake.merge_manifests(&self.name).await?),
            ModelStep::Expire { keep } => {
                let expiry = Expiry::new().keep_last(*keep).older_than(far()).nobody_reads();
                self.lake.expire(&self.name, &expiry, far()).await?;
                self.check_all().await?;
            }
            ModelStep::RemoveOrphans => self.clean().await?,
            ModelStep::Tag => {
                if table.current_snapshot().is_some() {
                    let (name, at) = (format!("tag-{}", self.trace.len()), At::Now);
                    let naming = Naming::Tag { name: name.clone(), at, retention: Retention::default() };
                    self.lake.evolve(&self.name, naming).await?;
                    self.tags.insert(name, table.current_snapshot().unwrap().snapshot_id());
                }
            }
            ModelStep::DropTag => {
                if let Some((name, _)) = self.tags.pop_first() {
                    self.lake.evolve(&self.name, Naming::Drop { name }).await?;
                }
            }
            ModelStep::RollBack => self.roll_back(&table).await?,
            ModelStep::Audit { write, publish } => self.audit(write, *publish, &table).await?,
            ModelStep::Race { first, second, expire } => self.race(first, second, *expire).await.map(drop)?,
            ModelStep::Crowd(writes) => self.crowd(writes, &table).await?,
            ModelStep::Lost(fault, step) => self.lost(*fault, step, &table).await?,
        }
        Ok(())
    }

    /// Prepares the change of a step, and returns it with its effect on the content after the commit.
    async fn prepare(&self, step: &ModelStep, table: &Table) -> LakeResult<(Change, Effect)> {
        let (change, effect) = match step {
            ModelStep::Write(write) => (self.write(write, table).await?, Effect::Write(write.clone())),
            ModelStep::Evolve(evolve) => (table.evolve(evolve.evolution())?, Effect::Evolve(evolve.clone())),
            ModelStep::Compact(compaction) => (table.compact(compaction).await?, Effect::None),
            other => unreachable!("{other:?} does not race"),
        };
        // An empty change has no effect.
        let effect = if change.is_empty() { Effect::None } else { effect };
        Ok((change, effect))
    }

    async fn write(&self, write: &Write, table: &Table) -> LakeResult<Change> {
        let rows = |rows: &[_]| batch(&self.content.names(), &texts(&self.content, rows));
        match write {
            Write::Append { rows: new } => table.append(rows(new)).await,
            Write::Upsert { rows: new } => table.upsert(&["id"], rows(new)).await,
            Write::Delete { which } => table.delete(which.filter()).await,
            Write::Overwrite { which, rows: new } => table.overwrite(which.filter(), rows(new)).await,
        }
    }

    fn done(&mut self, committed: &Committed, effect: &Effect) {
        match effect {
            Effect::None => {}
            Effect::Write(write) => write.apply(&mut self.content),
            Effect::Evolve(evolve) => evolve.apply(&mut self.content),
        }
        if let Some(id) = committed.snapshot_id {
            self.seen.insert(id, self.content.clone());
        }
    }

    async fn roll_back(&mut self, table: &Table) -> LakeResult<()> {
        let Some(head) = table.current_snapshot() else { return Ok(()) };
        let Some(to) = head.parent_snapshot_id().filter(|id| table.metadata().snapshot_by_id(*id).is_some()) else {
            return Ok(());
        };
        let Some(then) = self.seen.get(&to).cloned() else { return Ok(()) };
        table.roll_back(At::Snapshot(to))?.commit(&self.lake).await?;
        self.content.rows = then.rows;
        let columns: BTreeSet<u32> = self.content.columns.iter().map(|column| column.id).collect();
        self.content.rows.values_mut().for_each(|row| row.retain(|column, _| columns.contains(column)));
        Ok(())
    }

    /// Writes to a branch, checks it, and publishes or drops it.
    async fn audit(&mut self, write: &Write, publish: bool, table: &Table) -> LakeResult<()> {
        if table.current_snapshot().is_none() {
            return Ok(());
        }
        let name = || "audit".to_owned();
        let branch = Naming::Branch { name: name(), at: At::Now, retention: Retention::default() };
        let table = self.lake.evolve(&self.name, branch).await?;
        let committed = self.write(write, &table).await?.onto(name()).commit(&self.lake).await?;
        self.check_now().await?;
        if publish {
            let forward = Naming::FastForward { branch: "main".into(), to: name() };
            self.lake.evolve(&self.name, forward).await?;
            self.done(&committed, &Effect::Write(write.clone()));
        } else if let Some(id) = committed.snapshot_id {
            let mut content = self.content.clone();
            write.apply(&mut content);
            self.seen.insert(id, content);
        }
        self.lake.evolve(&self.name, Naming::Drop { name: name() }).await?;
        Ok(())
    }

    /// Returns true if the second change had to commit because it is separate from the first, and neither change is
    /// empty.
    async fn race(&mut self, one: &ModelStep, other: &ModelStep, expire: bool) -> LakeResult<bool> {
        let table = self.table().await?;
        // The scan is planned, but has opened no file.
        let reader = table.scan().stream().await?;
        let planned = self.content.printed();
        let (first, effect) = self.prepare(one, &table).await?;
        let (second, later) = self.prepare(other, &table).await?;
        let is_separate = are_separate((one, &first), (other, &second));
        let is_counted = is_separate && !first.is_empty() && !second.is_empty();
        let before = self.content.clone();
        let committed = first.commit(&self.lake).await?;
        self.done(&committed, &effect);
        if expire {
            let expired = self.lake.expire(&self.name, &Expiry::new().keep_last(1).older_than(far()), far()).await?;
            let read = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
            self.expiries_beside_reader += usize::from(read.is_some_and(|id| expired.snapshots.contains(&id)));
        }
        match (second.commit(&self.lake).await, one, later) {
            (Ok(committed), ModelStep::Evolve(evolve), Effect::Write(write)) => {
                // The write selected its rows before the columns changed.
                self.content = before;
                write.apply(&mut self.content);
                evolve.apply(&mut self.content);
                self.done(&committed, &Effect::None);
            }
            (Ok(committed), _, later) => self.done(&committed, &later),
            (Err(LakeError::Conflict { why, .. }), ..) => {
                assert!(!is_separate, "changes of separate regions conflict: {why}");
                self.trace.push(format!("conflict: {why}"));
            }
            (Err(error), ..) => return Err(error),
        }
        if expire {
            self.lake.delete_expired(&self.name, far() + TimeDelta::hours(23)).await?;
            let found: Vec<RecordBatch> = reader.try_collect().await.map_err(LakeError::Source)?;
            assert_eq!(printed(&found), planned, "what a query reads that was planned before the expiry");
            let found = table.scan().collect().await?;
            assert_eq!(printed(&found), planned, "what a query reads whose table was loaded before the expiry");
            self.lake.delete_expired(&self.name, far() + TimeDelta::days(1)).await?;
            self.check_all().await?;
        }
        self.separate_races += usize::from(is_counted);
        Ok(is_counted)
    }

    /// Appends to two cities, and lets a step in one of them race with a step in the other. Returns the result of
    /// [`Self::race`].
    pub(crate) async fn race_in_two_cities(&mut self, kinds: [CityStep; 2], expire: bool) -> LakeResult<bool> {
        let cities = self.dice.two_cities();
        // A compaction needs two files of each city.
        for _ in 0..2 {
            let appends = cities.map(|city| self.dice.city_rows(&self.content, city));
            self.act(&ModelStep::Write(Write::Append { rows: appends.concat() })).await?;
        }
        let [first, second] = [0, 1].map(|side| self.dice.city_step(&self.content, cities[side], kinds[side]));
        self.trace.push(format!("{first:?} beside {second:?}, expire: {expire}"));
        let is_counted = self.race(&first, &second, expire).await?;
        self.check_now().await?;
        Ok(is_counted)
    }

    pub(crate) async fn set_mode(&self, mode: &str) -> LakeResult<()> {
        self.lake.evolve(&self.name, Properties::new().set("write.merge.mode", mode)).await.map(drop)
    }

    async fn crowd(&mut self, writes: &[Write], table: &Table) -> LakeResult<()> {
        let mut changes = Vec::new();
        for write in writes {
            changes.push(self.write(write, table).await?);
        }
        let commits = changes.into_iter().map(|change| change.commit(&self.lake));
        let mut committed = Vec::new();
        for (committing, write) in futures::future::join_all(commits).await.into_iter().zip(writes) {
            committed.push(committing?);
            write.apply(&mut self.content);
        }
        // Sequence numbers show the order of the commits. Only the last snapshot is known to contain all rows.
        let sequence = |committed: &&Committed| {
            let id = committed.snapshot_id.unwrap_or_default();
            committed.table.metadata().snapshot_by_id(id).map(|snapshot| snapshot.sequence_number())
        };
        if let Some(last) = committed.iter().max_by_key(sequence).and_then(|last| last.snapshot_id) {
            self.seen.insert(last, self.content.clone());
        }
        Ok(())
    }

    /// Commits a step although the swap fails or its response is lost: the writer retries, or finds its commit.
    async fn lost(&mut self, fault: Fault, step: &ModelStep, table: &Table) -> LakeResult<()> {
        let (change, effect) = self.prepare(step, table).await?;
        self.catalog.lose(fault);
        let committed = change.commit(&self.lake).await?;
        self.catalog.heal();
        self.done(&committed, &effect);
        Ok(())
    }

    /// Removes orphans, and checks that exactly the referenced files are left.
    pub(crate) async fn clean(&mut self) -> LakeResult<()> {
        self.lake.remove_orphans(&self.name, &Orphans::new().nobody_writes(), far()).await?;
        let table = self.table().await?;
        let reached = reached(&table).await?;
        let mut there = BTreeSet::new();
        list(self.folder.path(), &mut there);
        let orphans: Vec<_> = there.difference(&reached).collect();
        let missing: Vec<_> = reached.difference(&there).collect();
        assert!(orphans.is_empty() && missing.is_empty(), "orphans {orphans:#?}, missing {missing:#?}");
        self.check_all().await
    }

    async fn table(&self) -> LakeResult<Table> {
        self.lake.table(&self.name).await
    }

    async fn live(&self) -> LakeResult<BTreeSet<i64>> {
        let table = self.table().await?;
        let live: BTreeSet<i64> = table.metadata().snapshots().map(|snapshot| snapshot.snapshot_id()).collect();
        Ok(live.into_iter().filter(|id| self.seen.contains_key(id)).collect())
    }

    async fn check_now(&self) -> LakeResult<()> {
        let table = self.table().await?;
        let found = table.scan().collect().await?;
        assert_eq!(printed(&found), self.content.printed(), "what readers see");
        let names: Vec<String> = table.schema().as_struct().fields().iter().map(|field| field.name.clone()).collect();
        assert_eq!(names, self.content.names());
        Ok(())
    }

    async fn check_snapshot(&self, id: i64) -> LakeResult<()> {
        let found = self.table().await?.scan().at(At::Snapshot(id)).collect().await?;
        assert_eq!(printed(&found), self.seen[&id].printed(), "snapshot {id}");
        Ok(())
    }

    /// Checks that every remaining snapshot and every tag reads as it did before.
    pub(crate) async fn check_all(&self) -> LakeResult<()> {
        for id in self.live().await? {
            self.check_snapshot(id).await?;
        }
        let table = self.table().await?;
        for (name, id) in &self.tags {
            let found = table.scan().at(At::Ref(name.clone())).collect().await?;
            if let Some(seen) = self.seen.get(id) {
                assert_eq!(printed(&found), seen.printed(), "{name}");
            }
        }
        Ok(())
    }
}

/// Returns a timestamp after everything that a test does.
fn far() -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap()
}

/// Returns the paths of the files that the table needs, found by following the Iceberg specification and not orch's
/// code.
async fn reached(table: &Table) -> LakeResult<BTreeSet<String>> {
    let (iceberg, metadata) = (table.iceberg(), table.metadata());
    let mut paths: BTreeSet<String> = metadata.metadata_log().iter().map(|log| log.metadata_file.clone()).collect();
    paths.insert(table.metadata_location().to_owned());
    for snapshot in metadata.snapshots() {
        paths.insert(snapshot.manifest_list().to_owned());
        for manifest in iceberg.manifest_list_reader(snapshot).load().await?.entries() {
            paths.insert(manifest.manifest_path.clone());
            let entries = manifest.load_manifest(iceberg.file_io()).await?;
            let alive = entries.entries().iter().filter(|entry| entry.is_alive());
            paths.extend(alive.map(|entry| entry.file_path().to_owned()));
        }
    }
    Ok(paths.into_iter().map(|path| path.trim_start_matches("file://").to_owned()).collect())
}

fn list(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, into);
        } else {
            into.insert(path.to_str().unwrap().to_owned());
        }
    }
}
