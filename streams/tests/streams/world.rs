//! A database, a lake, and a host that runs one stream.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::util::display::array_value_to_string;
use iceberg::spec::PrimitiveType;
use orch_lake::bucket::Options;
use orch_lake::{Lake, LakeConfig, TableDef, TableName};
use orch_sdk::task::Connection;
use orch_store::MIGRATOR;
use orch_store::hint::{Hint, Hints};
use orch_store::stream::{StreamHost, StreamRow, get_stream, restart_stream};
use orch_store::topic::{NewRecord, ensure_topic, produce};
use orch_streams::{Stream, source};
use orch_test_support::proxy::Proxy;
use orch_test_support::rng::Rng;
use orch_test_support::{IcebergCatalog, TestDb};
use sqlx::postgres::PgListener;
use sqlx::{Connection as _, PgConnection, PgPool};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);
pub(crate) const COMMIT: Duration = Duration::from_millis(20);

/// A connection to a Postgres that streams write to.
pub(crate) const WAREHOUSE: &str = "warehouse";

/// A connection to a Postgres whose changes are captured.
pub(crate) const SOURCE: &str = "shop";

pub(crate) struct World {
    pub(crate) db: TestDb,
    /// The catalog of the lake, if it is not in `db`.
    pub(crate) elsewhere: Option<Elsewhere>,
    folder: TempDir,
    hints: Hints,
    /// The proxy between processes and the database, if there is one.
    pub(crate) proxy: Option<Proxy>,
    /// Connections in addition to the warehouse and the built-in log.
    pub(crate) connections: Vec<Connection>,
    pub(crate) files: Option<PathBuf>,
}

pub(crate) enum Elsewhere {
    /// The catalog database, and the proxy between it and processes, if there is one.
    Database(TestDb, Option<Proxy>),
    Server(IcebergCatalog),
}

/// A process that runs streams.
pub(crate) struct Host {
    stop: CancellationToken,
    running: JoinSet<()>,
}

pub(crate) async fn world() -> World {
    let db = TestDb::new(&MIGRATOR).await;
    // Streams commit without a notification, so a trigger sends one.
    sqlx::raw_sql(
        "create function tell() returns trigger language plpgsql as $$ begin notify moved; return null; end $$;
        create trigger tell after insert or update on stream for each statement execute function tell();
        create trigger tell after insert or update or delete on import_error for each statement execute function tell()",
    )
    .execute(&mut db.connect().await)
    .await
    .expect("the trigger is made");
    let folder = tempfile::tempdir().expect("a temporary folder");
    World { db, elsewhere: None, folder, hints: Hints::new(), proxy: None, connections: Vec::new(), files: None }
}

/// Readings: `{"id": 1, "city": "Oslo"}` → `test.readings`.
pub(crate) fn readings() -> Stream {
    let record = [Field::new("id", DataType::Int64, false), Field::new("city", DataType::Utf8, true)];
    let table = TableDef::new().optional("id", PrimitiveType::Long).optional("city", PrimitiveType::String);
    stream().json(Schema::new(record.to_vec())).append(named("test.readings"), table)
}

pub(crate) fn stream() -> Stream {
    Stream::new("readings").topic("readings").partitions(2).commit_every(COMMIT)
}

pub(crate) fn named(name: &str) -> TableName {
    name.parse().expect("a name")
}

fn lake(catalog: PgPool, folder: &Path) -> Lake {
    let warehouse = format!("file://{}", folder.display());
    let config = LakeConfig { catalog, name: "orch".into(), warehouse, storage: Options::default() };
    Lake::open(config).expect("a folder is a warehouse")
}

fn lake_at(address: &str) -> Lake {
    let connection = Connection::from_uri("lake", &format!("iceberg://{address}")).expect("it is a URI");
    Lake::of(&connection, &Options::default()).expect("it leads to a catalog")
}

impl World {
    /// Puts the catalog of the lake into a separate database.
    pub(crate) async fn with_catalog_elsewhere(mut self) -> World {
        self.elsewhere = Some(Elsewhere::Database(TestDb::new(&MIGRATOR).await, None));
        self
    }

    /// Puts the catalog of the lake onto an HTTP server.
    pub(crate) async fn with_catalog_over_http(mut self) -> World {
        self.elsewhere = Some(Elsewhere::Server(IcebergCatalog::start().await));
        self
    }

    pub(crate) fn lake(&self) -> Lake {
        match &self.elsewhere {
            None => lake(self.db.pool(), self.folder.path()),
            Some(Elsewhere::Database(db, _)) => lake(db.pool(), self.folder.path()),
            Some(Elsewhere::Server(server)) => lake_at(&server.address()),
        }
    }

    /// From now on, one in `many` writes of the processes gets no response, here and in the catalog.
    pub(crate) async fn cut_one_in(&mut self, many: usize) {
        let proxy = async |db: &TestDb| Proxy::start(&db.url(), Rng::new(0x5eed)).await;
        self.proxy.insert(proxy(&self.db).await).cut_one_in(many);
        if let Some(Elsewhere::Database(db, between)) = &mut self.elsewhere {
            between.insert(proxy(db).await).cut_one_in(many);
        }
    }

    pub(crate) async fn db(&self) -> PgConnection {
        self.db.connect().await
    }

    pub(crate) fn host(&self, stream: &Stream) -> Host {
        self.host_of(vec![stream.clone()])
    }

    /// Starts a process with these streams and the streams of the files.
    pub(crate) fn host_of(&self, streams: Vec<Stream>) -> Host {
        let url = self.proxy.as_ref().map_or_else(|| self.db.url(), Proxy::url);
        let (warehouse, others) = (url.clone(), self.connections.clone());
        let pool = orch_store::connect::pool(&url, "orch streams", 4).expect("it works");
        let folder = self.folder.path().to_owned();
        let (database, server) = match &self.elsewhere {
            None => (url, None),
            Some(Elsewhere::Database(db, proxy)) => (proxy.as_ref().map_or_else(|| db.url(), Proxy::url), None),
            Some(Elsewhere::Server(server)) => (url, Some(server.address())),
        };
        let open_lake = move |_: &[Connection]| {
            Ok(match &server {
                Some(address) => lake_at(address),
                None => lake(orch_store::connect::pool(&database, "orch lake", 4)?, &folder),
            })
        };
        let source = source(move || streams.clone(), &["lake"], open_lake);
        let stop = CancellationToken::new();
        let host = StreamHost {
            bundle: "test".into(),
            is_hidden: false,
            name: "host".into(),
            pool,
            hints: self.hints.clone(),
            find: Arc::new(move |id| {
                let connection = match others.iter().find(|one| one.id == id) {
                    Some(other) => other.clone(),
                    None if id == WAREHOUSE => Connection::from_uri(id, &warehouse).expect("it is a URL"),
                    None => Connection { id: id.into(), conn_type: "log".into(), ..Connection::default() },
                };
                Box::pin(async move { Ok(connection) })
            }),
            mask: str::to_owned,
            lease: Duration::from_millis(600),
            paused_at_creation: false,
            folder: self.files.clone(),
            stop: stop.clone(),
        };
        let mut running = JoinSet::new();
        running.spawn(async move { source.run_streams(host).await.expect("it works") });
        Host { stop, running }
    }

    pub(crate) async fn topic(&self) {
        ensure_topic(&mut self.db().await, "readings", 2).await.expect("it works");
    }

    pub(crate) async fn produce(&self, records: &[NewRecord]) {
        let mut db = self.db().await;
        let mut tx = db.begin().await.expect("it works");
        produce(&mut tx, "readings", records).await.expect("it works");
        tx.commit().await.expect("it works");
        self.appended();
    }

    /// Notifies the streams of new records.
    pub(crate) fn appended(&self) {
        self.hints.give(Hint::Topic);
    }

    /// Produces readings with these ids, spread over the partitions.
    pub(crate) async fn produce_ids(&self, ids: std::ops::Range<i64>) {
        let records: Vec<NewRecord> =
            ids.map(|id| text(&format!(r#"{{"id":{id},"city":"c{}"}}"#, id % 7), id)).collect();
        self.produce(&records).await;
    }

    /// Breaks connections in the middle of statements and commits, restarts the stream, and ends and starts processes
    /// while 4,000 records arrive. Returns the number of records once all are published.
    pub(crate) async fn break_while(
        &self,
        stream: &Stream,
        produce: impl AsyncFn(&World, std::ops::Range<i64>),
    ) -> i64 {
        const LOTS: i64 = 80;
        const LOT: i64 = 50;
        self.topic().await;
        let mut hosts: Vec<Host> = vec![self.host(stream), self.host(stream)];
        let mut db = self.db().await;
        let catalog = match &self.elsewhere {
            Some(Elsewhere::Database(db, _)) => Some(db.name().to_owned()),
            _ => None,
        };
        for lot in 0..LOTS {
            produce(self, lot * LOT..(lot + 1) * LOT).await;
            match lot % 4 {
                0 => {
                    // Ends the sessions of the catalog, of the streams, and at the database of the table.
                    sqlx::query(
                        "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname in (current_database(), $1) and pid <> pg_backend_pid() and application_name like 'orch%'",
                    )
                    .bind(&catalog)
                    .execute(&mut db)
                    .await
                    .expect("they end");
                    self.try_again().await;
                }
                1 => {
                    restart_stream(&mut db, "readings").await.expect("it works");
                    self.steered();
                }
                2 if lot % 16 == 2 => {
                    hosts.remove(0).end().await;
                    hosts.push(self.host(stream));
                }
                _ => {}
            }
            if lot % 8 == 7 {
                self.until(|row| row.records >= lot * LOT / 2).await;
            }
        }
        self.try_again().await;
        let row = self.until(|row| row.records >= LOTS * LOT).await;
        assert_eq!(row.records, LOTS * LOT, "what the stream counts");
        assert!(row.epoch > LOTS / 4, "it was taken away often: {}", row.epoch);
        for host in hosts {
            host.end().await;
        }
        row.records
    }

    /// Retries failures immediately, because tests do not cover the retry delay.
    pub(crate) async fn try_again(&self) {
        let again = "update stream set retry_at = null where retry_at is not null and retry_at < 'infinity'";
        sqlx::query(again).execute(&mut self.db().await).await.expect("it works");
        self.steered();
    }

    pub(crate) fn steered(&self) {
        self.hints.give(Hint::Stream);
    }

    /// Sends the hint that a run has ended, like a scheduler does.
    pub(crate) fn ended(&self) {
        self.hints.give(Hint::Run);
    }

    pub(crate) async fn row(&self) -> Option<StreamRow> {
        get_stream(&mut self.db().await, "readings").await.expect("it works")
    }

    #[track_caller]
    pub(crate) fn until(&self, holds: impl Fn(&StreamRow) -> bool) -> impl Future<Output = StreamRow> {
        self.until_so(async move |world: &World| world.row().await.filter(|row| holds(row)))
    }

    /// Waits until `find` returns a value. It is called whenever a stream or an import error changes.
    #[track_caller]
    pub(crate) fn until_so<T>(&self, find: impl AsyncFn(&World) -> Option<T>) -> impl Future<Output = T> {
        let caller = std::panic::Location::caller();
        async move {
            let mut moved = PgListener::connect(&self.db.url()).await.expect("the server is there");
            moved.listen("moved").await.expect("it listens");
            let until = Instant::now() + PATIENCE;
            loop {
                if let Some(found) = find(self).await {
                    return found;
                }
                let heard = tokio::time::timeout_at(until, moved.recv()).await;
                assert!(heard.is_ok(), "it does not come to that ({caller}): {:?}", self.row().await);
            }
        }
    }

    /// Returns the import errors of files, as users see them.
    pub(crate) async fn import_errors(&self) -> String {
        let told = sqlx::query_scalar("select coalesce(string_agg(problems::text, ' '), '') from import_error");
        told.fetch_one(&mut self.db().await).await.expect("it works")
    }

    pub(crate) async fn rows(&self, table: &str) -> Vec<RecordBatch> {
        match self.lake().find(&named(table)).await.expect("it works") {
            Some(table) if table.current_snapshot().is_some() => table.scan().collect().await.expect("it works"),
            _ => Vec::new(),
        }
    }

    /// Returns the ids, sorted.
    pub(crate) async fn ids(&self) -> Vec<i64> {
        let rows = self.rows("test.readings").await;
        let mut ids: Vec<i64> = rows
            .iter()
            .flat_map(|rows| rows.column_by_name("id").expect("it works").as_primitive::<Int64Type>().values().to_vec())
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Returns rows as text, one line each, sorted.
    pub(crate) async fn lines(&self, table: &str, columns: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for rows in self.rows(table).await {
            for row in 0..rows.num_rows() {
                let cell = |name: &&str| {
                    let column = rows.column_by_name(name).expect("it works");
                    if column.is_null(row) { "-".into() } else { array_value_to_string(column, row).expect("it works") }
                };
                lines.push(columns.iter().map(cell).collect::<Vec<_>>().join(" "));
            }
        }
        lines.sort();
        lines
    }
}

impl Host {
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

pub(crate) fn text(value: &str, partition: i64) -> NewRecord {
    let partition = i16::try_from(partition.rem_euclid(2)).expect("it works");
    NewRecord { value: Some(value.into()), partition: Some(partition), ..NewRecord::default() }
}
