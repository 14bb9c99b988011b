//! A stream of each kind, with its topics in the built-in log and in Kafka, and the expected contents of its table.

use super::{POLL_INTERVAL, TIMEOUT};
use crate::world::World;
use orch::{Connection, NewRecord};
use orch_streams::topic::kafka::KafkaProducer;
use orch_test_lake::{MariaDb, mariadb_with_changes};
use orch_test_support::{Kafka, PrivateServer};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tokio::time::{Instant, sleep};

/// Prefixes of stream names, each with the connection of their topics.
const PLACES: [(&str, &str); 2] = [("log", "topics"), ("kafka", "kafka")];

/// Kinds of rows that a stream writes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rows {
    /// Topics of changes, written by a capture.
    Topics,
    /// Every reading.
    Readings,
    /// Latest reading of each city.
    Newest,
    /// Readings of each city and minute.
    Windows,
    /// Current rows of the source.
    Mirrored,
    /// Every change of a row.
    Changes,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sink {
    Topics,
    Lake,
    Postgres,
    Runs,
}

/// Name of each stream without its prefix, and the part of its file that differs from other files.
const STREAMS: [(&str, Rows, Sink, &str); 16] = [
    (
        "postgres",
        Rows::Topics,
        Sink::Topics,
        "capture: {database: postgres, connection: shop, tables: [public.orders], topics: postgres}",
    ),
    (
        "mariadb",
        Rows::Topics,
        Sink::Topics,
        "capture: {database: mysql, connection: store, tables: [orders], topics: mariadb}",
    ),
    ("postgres_mirror", Rows::Mirrored, Sink::Lake, "topic: postgres.orders"),
    ("mariadb_mirror", Rows::Mirrored, Sink::Lake, "topic: mariadb.orders"),
    ("postgres_copy", Rows::Mirrored, Sink::Postgres, "topic: postgres.orders"),
    ("mariadb_copy", Rows::Mirrored, Sink::Postgres, "topic: mariadb.orders"),
    ("postgres_changes", Rows::Changes, Sink::Lake, "topic: postgres.orders"),
    ("mariadb_changes", Rows::Changes, Sink::Lake, "topic: mariadb.orders"),
    ("appended", Rows::Readings, Sink::Lake, ""),
    ("shared", Rows::Readings, Sink::Lake, "shares: 2"),
    ("upserted", Rows::Newest, Sink::Lake, ""),
    ("windows", Rows::Windows, Sink::Lake, ""),
    ("appended_there", Rows::Readings, Sink::Postgres, ""),
    ("upserted_there", Rows::Newest, Sink::Postgres, ""),
    ("windows_there", Rows::Windows, Sink::Postgres, ""),
    ("runs", Rows::Readings, Sink::Runs, "runs: {dag: users_producer, per: batch, most_open: 1000000}"),
];

pub(super) fn all_streams() -> impl Iterator<Item = String> {
    PLACES.into_iter().flat_map(|(place, _)| STREAMS.map(|(name, ..)| format!("{place}_{name}")))
}

impl Rows {
    fn file(self) -> &'static str {
        match self {
            Rows::Topics => "",
            Rows::Mirrored => "fields: {id: integer, total: integer}\nchanges: true\nkey: id\n",
            Rows::Changes => "fields: {id: integer, total: integer}\nchanges: true\n",
            Rows::Readings => "topic: readings\npartitions: 3\nfields: {n: integer, city: text, at: timestamp}\n",
            Rows::Newest => {
                "topic: readings\npartitions: 3\nfields: {n: integer, city: text, at: timestamp}\nkey: city\nnewest_by: n\n"
            }
            Rows::Windows => {
                "topic: readings\npartitions: 3\nfields: {n: integer, city: text, at: timestamp}\n\
                 windows: {tumbling: 1m, by: city, at: at, allow_late: 1m, measures: {readings: count, total: sum(n)}}\n"
            }
        }
    }

    /// Returns an aggregate over the table, in SQL for the lake and for Postgres.
    fn select(self) -> &'static str {
        match self {
            Rows::Topics => "",
            Rows::Mirrored => "string_agg(cast(id as text) || ' ' || cast(total as text), ';' order by id)",
            Rows::Changes => {
                "cast(count(*) filter (where id <= 40) as text) || ' ' || \
                 cast(count(distinct id + 100 * total) filter (where id <= 40) as text)"
            }
            Rows::Readings => {
                "cast(count(*) as text) || ' ' || cast(count(distinct n) as text) || ' ' || cast(max(n) as text)"
            }
            Rows::Newest => "string_agg(city || ' ' || cast(n as text), ';' order by city)",
            Rows::Windows => {
                "string_agg(city || ' ' || cast(cast(extract(epoch from window_start) as bigint) as text) || ' ' || \
                 cast(readings as text) || ' ' || cast(cast(total as bigint) as text), ';' order by city, window_start)"
            }
        }
    }

    fn are_of_readings(self) -> bool {
        matches!(self, Rows::Readings | Rows::Newest | Rows::Windows)
    }
}

fn write_files(world: &World) {
    let folder = world.path().join("streams");
    std::fs::create_dir(&folder).unwrap();
    for (place, connection) in PLACES {
        for (name, rows, sink, own) in STREAMS {
            let table = match sink {
                Sink::Lake => format!("table: frozen_{place}.{name}"),
                Sink::Postgres => format!("postgres: {{connection: retail_postgres, table: frozen_{place}.{name}}}"),
                Sink::Topics | Sink::Runs => String::new(),
            };
            let file = format!("connection: {connection}\ncommit_every: 300ms\n{}{own}\n{table}\n", rows.file());
            std::fs::write(folder.join(format!("{place}_{name}.stream.yaml")), file).unwrap();
        }
    }
}

const CITIES: i64 = 6;
const READINGS: i64 = 120;
/// The timestamp 2026-01-01T00:00:00Z.
const FIRST_SECOND: i64 = 1_767_225_600;
/// Number of rows that change in each transaction; their ids start at 1. The source has one other row at a time.
const ORDERS: i64 = 40;
const UPDATE: &str = "update orders set total = total + 1 where id <= 40";

/// Two databases and two topics that change, and their progress.
pub(super) struct Sources {
    postgres: (PrivateServer, PgConnection),
    mariadb: (&'static MariaDb, Connection),
    kafka: (Kafka, KafkaProducer),
    readings: i64,
    updates: i64,
    steps: i64,
}

impl Sources {
    /// Starts the servers and writes the files of the streams.
    pub(super) async fn start(world: &mut World) -> Sources {
        let (server, broker, mariadb) =
            tokio::join!(PrivateServer::with_changes_over_tcp(), Kafka::start(), mariadb_with_changes());
        let topics = Connection::from_uri("kafka", &format!("kafka://{}", broker.address())).unwrap();
        let producer = KafkaProducer::open(&topics).unwrap();
        for (topic, partitions) in [("readings", 3), ("postgres.orders", 1), ("mariadb.orders", 1)] {
            producer.create_topic(topic, partitions).await.unwrap();
        }
        world.run(&["topics", "create", "readings", "--partitions", "3"]).done();
        let mut postgres = PgConnection::connect(&server.url()).await.unwrap();
        let connection = mariadb.database().await;
        let tables = "create table orders (id int primary key, total int not null)";
        sqlx::query(tables).execute(&mut postgres).await.unwrap();
        let insert = "insert into orders select id, 0 from generate_series(1, 40) id";
        sqlx::query(insert).execute(&mut postgres).await.unwrap();
        mariadb
            .run_statements(&connection, &format!("{tables};\ninsert into orders select seq, 0 from seq_1_to_40;\n"))
            .await;
        world.set("ORCH_CONN_KAFKA", topics.to_uri());
        world.set("ORCH_CONN_SHOP", server.url());
        world.set("ORCH_CONN_STORE", connection.to_uri());
        world.set("ORCH_STREAMS_FOLDER", world.path().join("streams").display().to_string());
        write_files(world);
        let mut sources = Sources {
            postgres: (server, postgres),
            mariadb: (mariadb, connection),
            kafka: (broker, producer),
            readings: 0,
            updates: 0,
            steps: 0,
        };
        // A partition that is empty at the first read does not delay windows.
        sources.produce(world, CITIES).await;
        sources.step(world, 0).await;
        sources
    }

    /// Changes the same rows of the databases in transactions.
    pub(super) async fn update(&mut self, transactions: usize) {
        let (server, database) = &self.mariadb;
        for _ in 0..transactions {
            sqlx::query(UPDATE).execute(&mut self.postgres.1).await.unwrap();
            server.run_statements(database, UPDATE).await;
            self.updates += 1;
        }
    }

    /// Returns the number of captures to which Postgres has sent changes that they have not confirmed.
    pub(super) async fn captures_at_work(&mut self) -> i64 {
        let unconfirmed = "select count(*) from pg_stat_replication where sent_lsn > flush_lsn";
        sqlx::query_scalar(unconfirmed).fetch_one(&mut self.postgres.1).await.unwrap()
    }

    /// Changes the databases in transactions, replaces a row, and produces readings.
    pub(super) async fn step(&mut self, world: &World, transactions: usize) {
        self.update(transactions).await;
        self.steps += 1;
        let id = ORDERS + self.steps;
        let next =
            format!("insert into orders values ({id}, 0);\ndelete from orders where id > {ORDERS} and id < {id};\n");
        sqlx::raw_sql(AssertSqlSafe(next.as_str())).execute(&mut self.postgres.1).await.unwrap();
        let (server, database) = &self.mariadb;
        server.run_statements(database, &next).await;
        self.produce(world, READINGS).await;
    }

    async fn produce(&mut self, world: &World, many: i64) {
        let (mut lines, mut records) = (String::new(), Vec::new());
        for n in self.readings..self.readings + many {
            let at = chrono::DateTime::from_timestamp(second(n), 0).unwrap();
            let value = json!({ "n": n, "city": city(n), "at": at.to_rfc3339() });
            writeln!(lines, "{}\t{value}", city(n)).unwrap();
            records.push(NewRecord::json(&value).unwrap().key(city(n)));
        }
        self.readings += many;
        self.kafka.1.produce("readings", &records).await.unwrap();
        world.run_with_input(&["topics", "produce", "readings", "--key-separator", "\t"], &lines).done();
    }

    /// Waits until all tables have their expected contents.
    pub(super) async fn until_copied(&self, world: &World, about: &str) {
        let (began, expected) = (Instant::now(), self.expected());
        loop {
            let found = found(world).await;
            if found == expected {
                return;
            }
            if began.elapsed() >= TIMEOUT {
                let names = expected.keys().chain(found.keys()).filter(|name| found.get(*name) != expected.get(*name));
                let differences =
                    names.map(|name| format!("{name}:\n  {:?}\n  {:?}", expected.get(name), found.get(name)));
                let differences = differences.collect::<Vec<_>>().join("\n");
                panic!("{about}: tables differ (expected, found):\n{differences}\n{}", world.said());
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn expected(&self) -> BTreeMap<String, String> {
        let late = (0..self.readings).filter(|n| is_late(*n)).count();
        let mut expected = BTreeMap::new();
        for (place, _) in PLACES {
            for (name, rows, ..) in STREAMS {
                let stream = format!("{place}_{name}");
                let records = if rows.are_of_readings() { self.readings } else { 0 };
                let quarantined = if rows == Rows::Windows { late } else { 0 };
                expected.insert(format!("stream {stream}"), format!("{records} records, {quarantined} in quarantine"));
                let changes = ORDERS * (1 + self.updates);
                let table = match rows {
                    Rows::Topics => continue,
                    Rows::Readings => format!("{0} {0} {1}", self.readings, self.readings - 1),
                    Rows::Newest => join(
                        (0..CITIES).map(|city| (city, self.readings - 1 - (self.readings - 1 - city) % CITIES)),
                        "c",
                    ),
                    Rows::Windows => self.windows(),
                    Rows::Mirrored => {
                        let last = (ORDERS + self.steps, 0);
                        join((1..=ORDERS).map(|id| (id, self.updates)).chain([last]), "")
                    }
                    Rows::Changes => format!("{changes} {changes}"),
                };
                expected.insert(stream, table);
            }
        }
        expected
    }

    fn windows(&self) -> String {
        let mut windows: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
        for n in (0..self.readings).filter(|n| !is_late(*n)) {
            let window = windows.entry((city(n), second(n) / 60 * 60)).or_default();
            *window = (window.0 + 1, window.1 + n);
        }
        let rows = windows.into_iter().map(|((city, start), (many, sum))| format!("{city} {start} {many} {sum}"));
        rows.collect::<Vec<_>>().join(";")
    }
}

fn join(pairs: impl Iterator<Item = (i64, i64)>, prefix: &str) -> String {
    pairs.map(|(key, value)| format!("{prefix}{key} {value}")).collect::<Vec<_>>().join(";")
}

fn city(n: i64) -> String {
    format!("c{}", n % CITIES)
}

/// Returns the second of a reading. Readings are two seconds apart. Late ones are older than any open window.
fn second(n: i64) -> i64 {
    FIRST_SECOND + 2 * n - if is_late(n) { 1_200 } else { 0 }
}

fn is_late(n: i64) -> bool {
    n > CITIES && n % 7 == 3
}

/// Returns the contents of the tables and the states of the streams.
async fn found(world: &World) -> BTreeMap<String, String> {
    let (mut lake, mut postgres) = (Vec::new(), Vec::new());
    for (place, _) in PLACES {
        for (name, rows, sink, _) in STREAMS {
            let select =
                |from: &str| format!("select '{place}_{name}' as stream, {} as fact from {from}", rows.select());
            match sink {
                Sink::Topics => {}
                // If a worker is frozen between the commits of Kafka and of orch, the next one writes the same changes
                // again.
                Sink::Lake if (place, rows) == ("kafka", Rows::Changes) => {
                    lake.push(select(&format!("(select distinct id, total from frozen_{place}.{name}) as once")));
                }
                Sink::Lake => lake.push(select(&format!("frozen_{place}.{name}"))),
                Sink::Postgres => postgres.push(select(&format!("frozen_{place}.{name}"))),
                Sink::Runs => postgres.push(select(&format!(
                    "(select (record->'value'->>'n')::bigint as n
                      from dag_run_detail, json_array_elements(conf->'records') record where conf->>'stream' = '{place}_{name}') runs"
                ))),
            }
        }
    }
    let lake = world.run(&["sql", &lake.join(" union all "), "-o", "csv", "--limit", "0"]);
    let mut found: BTreeMap<String, String> = lake
        .out
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(stream, rows)| (stream.into(), rows.into()))
        .collect();
    if lake.code != 0 {
        found.insert("lake".into(), lake.err);
    }
    let mut db = world.db().await;
    let rows = sqlx::query_as(AssertSqlSafe(postgres.join(" union all "))).fetch_all(&mut db).await;
    match rows {
        Ok(rows) => found.extend::<Vec<(String, String)>>(rows),
        Err(error) => drop(found.insert("postgres".into(), error.to_string())),
    }
    // The record counts of captures are omitted, because a capture may send the same changes to Kafka again.
    let streams = "select 'stream ' || name, coalesce(error || '; ', '') || case when is_paused then 'paused; ' else '' end
        || case when name ~ '_(postgres|mariadb)' then 0 else records end || ' records, ' || quarantined || ' in quarantine'
        from stream where bundle = 'streams-folder'";
    found.extend::<Vec<(String, String)>>(sqlx::query_as(streams).fetch_all(&mut db).await.unwrap());
    found
}
