//! Debezium reads a real Postgres and a real MariaDB into a real Kafka, and streams follow its topics. Debezium repeats
//! records, and both it and the readers are killed: the tables still equal the sources, and the trail contains each
//! record once.

use super::source::{Source, transaction};
use super::{CapturedRecord, Dice, Shop, is_of, mysql, replay};
use crate::world::{COMMIT, Host, named};
use arrow::datatypes::{DataType, Field, Schema};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_sdk::task::Connection;
use orch_store::stream::{get_stream, restart_stream};
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use orch_streams::topic::{Most, Position, TopicReader as _};
use orch_streams::{Changes, OFFSET, OP, Records, Stream};
use orch_test_support::{Connect, Kafka, PrivateServer, kafka};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const BROKER: &str = "events";
/// Much longer than a worker needs to come back.
const PATIENCE: Duration = Duration::from_mins(2);
const SILENCE: Duration = Duration::from_secs(3);

/// A source, the topic that a connector fills from it, and the processes that follow the topic.
struct Followed<S: Source> {
    shop: Shop<S>,
    connector: &'static str,
    topic: String,
    dice: Dice,
    session: S::Session,
    hosts: Vec<Host>,
    reader: KafkaTopic,
    /// The changes read from the topic so far, with their offsets.
    told: Vec<(i64, CapturedRecord)>,
    /// Number of records read, including tombstones.
    records: i64,
}

fn broker(kafka: &Kafka) -> Connection {
    Connection::from_uri(BROKER, &format!("kafka://{}", kafka.address())).unwrap()
}

/// Two streams: one appends each change as a row, and one mirrors the table. `World` finds the mirror by its name.
fn streams(topic: &str) -> Vec<Stream> {
    let row = ["id", "n"].map(|name| Field::new(name, DataType::Int64, true));
    let row = Schema::new([&row[..], &[Field::new("note", DataType::Utf8, true)]].concat());
    let table = |table: TableDef| table.optional("n", PrimitiveType::Long).optional("note", PrimitiveType::String);
    let trail = TableDef::new().optional(OFFSET, PrimitiveType::Long).optional(OP, PrimitiveType::String);
    let trail = table(trail.optional("id", PrimitiveType::Long));
    let follow =
        |name: &str| Stream::new(name).topic(topic).at(BROKER).commit_every(COMMIT).changes(Changes::of(row.clone()));
    vec![
        follow("trail").append(named("test.trail"), trail),
        follow("readings").mirror(
            named("test.mirror"),
            table(TableDef::new().required("id", PrimitiveType::Long)),
            &["id"],
        ),
    ]
}

impl<S: Source> Followed<S> {
    async fn new(mut shop: Shop<S>, connector: &'static str, topic: String, connect: &Connect, config: Value) -> Self {
        let kafka = kafka().await;
        shop.world.connections.push(broker(kafka));
        KafkaProducer::open(&broker(kafka)).unwrap().create_topic(&topic, 1).await.unwrap();
        shop.run_statements("insert into item values (1, 1, 'was there'), (2, 2, null)").await;
        connect.put(connector, &config.to_string()).await;
        let session = shop.source.session().await;
        let mut reader = KafkaTopic::open(&broker(kafka), &topic).unwrap();
        reader.bounds().await.unwrap();
        reader.seek(&[Position { partition: 0, offset: 0 }]).await.unwrap();
        let (dice, hosts, told) = (Dice(0x5eed), Vec::new(), Vec::new());
        let mut followed = Followed { shop, connector, topic, dice, session, hosts, reader, told, records: 0 };
        followed.hosts = vec![followed.host(), followed.host()];
        followed.until_told(connect, |told| told.len() >= 2).await;
        followed
    }

    fn host(&self) -> Host {
        self.shop.world.host_of(streams(&self.topic))
    }

    async fn transact(&mut self) {
        S::run(&mut self.session, &transaction::<S>(&mut self.dice)).await;
    }

    async fn trouble(&mut self, connect: &Connect) {
        let mut orch = self.shop.world.db().await;
        match self.dice.below(5) {
            0 => {
                let name = if self.dice.below(2) == 0 { "trail" } else { "readings" };
                restart_stream(&mut orch, name).await.unwrap();
                self.shop.world.steered();
            }
            1 => {
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name like 'orch%'";
                sqlx::raw_sql(cut).execute(&mut orch).await.unwrap();
            }
            2 => {
                self.hosts.remove(0).end().await;
                self.hosts.push(self.host());
            }
            3 => self.shop.source.cut().await,
            _ => connect.restart(self.connector, "").await,
        }
        self.shop.world.try_again().await;
    }

    /// Waits until the topic contains the deletion of a temporary item, and so all earlier changes.
    async fn until_told_to(&mut self, connect: &Connect, id: i64) {
        S::run(&mut self.session, &format!("insert into item values ({id}, 0, 'm')")).await;
        S::run(&mut self.session, &format!("delete from item where id = {id}")).await;
        self.until_told(connect, |told| told.iter().any(|(_, told)| told.op == "d" && is_of(told, id))).await;
    }

    /// Reads on in the topic until its changes satisfy the condition.
    async fn until_told(&mut self, connect: &Connect, holds: impl Fn(&[(i64, CapturedRecord)]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(&self.told) {
            let mut records = Records::default();
            let silence = Instant::now() + SILENCE;
            self.reader.read(&mut records, Most { records: 100_000, bytes: 64 << 20 }, silence).await.unwrap();
            if records.is_empty() {
                // The task of the connector fails until a restart if its MariaDB session is cut in the middle of an
                // event.
                connect.restart(self.connector, "&onlyFailed=true").await;
            }
            for record in records.iter() {
                self.records = record.offset + 1;
                if let Some(value) = record.value {
                    self.told.push((record.offset, CapturedRecord::of(0, record.key, value, None)));
                }
            }
            let (is_late, count) = (Instant::now() > until, self.records);
            assert!(!is_late, "only {count} records came: {}", connect.status(self.connector).await);
        }
    }

    /// Checks that no record is missing or duplicated. Returns the number of records that Debezium repeated.
    async fn ends_right(mut self, connect: &Connect) -> usize {
        self.until_told_to(connect, -1).await;
        self.until_told(connect, |told| told.last().is_some_and(|(_, told)| told.op == "d" && is_of(told, -1))).await;
        let (told, records) = (self.told, self.records);
        // Each change once. `replay` compares each change with the previous row, so it detects missing changes.
        let mut known = BTreeSet::new();
        let first =
            told.iter().filter(|(_, told)| known.insert((told.source_position(), told.op.clone(), told.key.clone())));
        let first: Vec<CapturedRecord> = first.map(|(_, told)| told.clone()).collect();
        let wanted = self.shop.source.rows("item").await;
        assert_eq!(replay(&first), wanted, "{}: what Debezium told", self.connector);

        self.shop.world.try_again().await;
        for name in ["trail", "readings"] {
            let row = self.shop.world.until_so(async |world| {
                let row = get_stream(&mut world.db().await, name).await.unwrap();
                row.filter(|row| row.records >= records)
            });
            let row = row.await;
            assert_eq!((row.records, row.quarantined), (records, 0), "{}: what `{name}` counts", self.connector);
        }
        let text = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let line = |row: &Value| ["id", "n", "note"].map(|name| text(&row[name])).join(" ");
        let mut lines: Vec<String> = wanted.values().map(line).collect();
        lines.sort();
        assert_eq!(self.shop.world.lines("test.mirror", &["id", "n", "note"]).await, lines, "{}", self.connector);
        let mut trail: Vec<String> = told.iter().map(|(offset, told)| format!("{offset} {}", told.op)).collect();
        trail.sort();
        assert_eq!(self.shop.world.lines("test.trail", &[OFFSET, OP]).await, trail, "{}", self.connector);
        for host in self.hosts {
            host.end().await;
        }
        eprintln!("{}: {} changes, {} told again", self.connector, first.len(), told.len() - first.len());
        told.len() - first.len()
    }
}

impl CapturedRecord {
    /// Returns the position of the change in the log of its source, as text.
    fn source_position(&self) -> String {
        ["lsn", "file", "pos", "row"].map(|name| self.source[name].to_string()).join(" ")
    }
}

/// Adds the settings that both kinds of source share.
fn config(own: Value) -> Value {
    let mut all = json!({
        "skipped.operations": "none",
        "poll.interval.ms": "20",
        "retriable.restart.connector.wait.ms": "200",
        "errors.max.retries": "-1",
        "database.hostname": "127.0.0.1",
    });
    let Value::Object(own) = own else { panic!("{own} is no configuration") };
    all.as_object_mut().unwrap().extend(own);
    all
}

async fn postgres(connect: &Connect) -> Followed<PrivateServer> {
    let shop = super::shop_at(PrivateServer::with_changes_over_tcp().await, PrivateServer::ITEMS).await;
    let at = shop.world.connections[0].clone();
    let config = config(json!({
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.port": at.port.map(|port| port.to_string()),
        "database.user": at.login,
        "database.password": at.password,
        "database.dbname": at.schema,
        "plugin.name": "pgoutput",
        "publication.autocreate.mode": "filtered",
        "table.include.list": "public.item",
        "topic.prefix": "postgres",
    }));
    Followed::new(shop, "postgres", "postgres.public.item".into(), connect, config).await
}

async fn mariadb(connect: &Connect) -> Followed<mysql::Maria> {
    let shop = mysql::own_shop(mysql::Maria::ITEMS).await;
    let at = shop.world.connections[0].clone();
    let database = at.schema.clone().unwrap();
    let config = config(json!({
        "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
        "database.port": at.port.map(|port| port.to_string()),
        "database.user": at.login,
        "database.password": at.password,
        "database.server.id": "9001",
        "database.include.list": database,
        "connect.keep.alive.interval.ms": "500",
        "schema.history.internal.kafka.bootstrap.servers": kafka().await.address(),
        "schema.history.internal.kafka.topic": "mariadb-history",
        "topic.prefix": "mariadb",
    }));
    Followed::new(shop, "mariadb", format!("mariadb.{database}.item"), connect, config).await
}

/// Number of transactions per source. Long tests use the number of the measurements in the guide.
#[expect(clippy::disallowed_methods, reason = "it says how long a test takes")]
fn transactions() -> usize {
    if std::env::var_os("ORCH_TEST_LONG").is_some() { 10_000 } else { 2_500 }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_debezium_tells_again_and_again_makes_the_tables_of_the_sources() {
    let mut connect = Connect::start(kafka().await).await;
    let (mut postgres, mut mariadb) = tokio::join!(postgres(&connect), mariadb(&connect));
    for nth in 1..=transactions() {
        tokio::join!(postgres.transact(), mariadb.transact());
        if nth % 500 == 0 {
            tokio::join!(postgres.trouble(&connect), mariadb.trouble(&connect));
        }
        if nth % 1_250 == 950 {
            // The worker is killed with uncommitted positions. Restarted connectors would commit theirs.
            let marker = 1_000 + i64::try_from(nth).unwrap();
            tokio::join!(postgres.until_told_to(&connect, marker), mariadb.until_told_to(&connect, marker));
            connect.kill();
            connect.start_again().await;
        }
    }
    // The worker commits positions at its own times, so one of the sources may have had none uncommitted at each kill.
    let again = postgres.ends_right(&connect).await + mariadb.ends_right(&connect).await;
    assert!(again > 100, "a worker that is killed tells much again, but only {again} records were");
}
