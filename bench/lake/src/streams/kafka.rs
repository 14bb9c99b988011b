//! From a Kafka topic to tables of the lake, with the broker on the same machine.

use super::World;
use crate::peers;
use crate::place::{catalog, folder, on_runtime};
use anyhow::{Result, ensure};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::json::ReaderBuilder;
use iceberg::spec::PrimitiveType;
use orch_bench::process::{forget_peak, peak_of};
use orch_bench::{Bench, Figure, percentile};
use orch_lake::TableDef;
use orch_lake::contract::{Contract, Policy};
use orch_sdk::task::Connection;
use orch_store::topic::NewRecord;
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use orch_streams::topic::{Most, Position, TopicReader as _};
use orch_streams::{Records, Stream};
use orch_test_support::Kafka;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOPIC: &str = "readings";
const PARTITIONS: i32 = 4;
/// Number of records handed to the broker together.
const LOT: u64 = 50_000;
/// Number of rows of the table with a key.
const KEYS: u64 = 1_000_000;

/// The stream as a YAML file, with the same fields and contract checks as the one in Rust.
const IN_YAML: &str = "name: of_a_file
topic: readings
fields: {id: integer, city: text, celsius: number, at: timestamp}
contract:
- not_null: [id, city]
- between: {column: celsius, least: -90, most: 60}
table: bench.of_a_file
";

pub(crate) fn rows(bench: &mut Bench) -> Result<Vec<Figure>> {
    let records = bench.times(4_000_000, 100_000) as u64;
    let (upserts, tries) = (bench.times(1_000_000, 20_000) as u64, bench.times(50, 3));
    let (url, warehouse) = (catalog(bench)?, folder(bench, "streams")?);
    let of_peers = (url.clone(), folder(bench, "topic_of_peers")?.display().to_string());
    on_runtime(async {
        let kafka = Kafka::start().await;
        let topics = Connection::from_uri("topics", &format!("kafka://{}", kafka.address()))?;
        let world = World::new(url, warehouse, vec![topics.clone()]).await?;
        // A separate process fills the topic: this one must not have read or written anything before its memory is
        // measured.
        let filled =
            Command::new(std::env::current_exe()?).args([FILL, &kafka.address(), &records.to_string()]).status()?;
        ensure!(filled.success(), "the topic is not filled: {filled}");

        forget_peak(std::process::id())?;
        let in_rust = world.rate(&in_rust(), records, records).await?;
        let peak = peak_of(std::process::id())?;
        let of_file = Stream::read("of_a_file.stream.yaml", IN_YAML.as_bytes());
        let of_file = of_file.map_err(|problems| anyhow::anyhow!("{}", problems[0]))?;
        let in_yaml = world.rate(&of_file, records, records).await?;
        let bare = bare(&topics, records).await?;
        let producer = KafkaProducer::open(&topics)?;
        let upserted = world.upserts(&producer, upserts).await?;
        let fresh = world.freshness(&producer, tries).await?;
        peers::run_peer("topic", &[&kafka.address(), TOPIC, &records.to_string(), &of_peers.0, &of_peers.1])?;
        let of = |name, rate: f64| Figure::new(name, rate, 1).with("records", records).with("of_bare", rate / bare);
        Ok(vec![
            Figure::new("kafka_bare_records_per_s", bare, 1).with("records", records),
            of("kafka_iceberg_records_per_s", in_rust),
            of("kafka_iceberg_yaml_records_per_s", in_yaml),
            Figure::new("kafka_iceberg_rss_mb", peak, 1).with("records", records),
            Figure::new("kafka_upsert_rows_per_s", upserted, 1).with("records", upserts).with("keys", KEYS),
            Figure::new("kafka_freshness_p95_ms", percentile(&fresh, 0.95), fresh.len()).with("commit_every_ms", 500),
        ])
    })
}

/// Argument with which this program runs itself to fill the topic.
pub(crate) const FILL: &str = "fill-topic";

pub(crate) fn fill(address: &str, records: &str) -> ExitCode {
    let filled = on_runtime(async {
        let producer = KafkaProducer::open(&Connection::from_uri("topics", &format!("kafka://{address}"))?)?;
        producer.create_topic(TOPIC, PARTITIONS).await?;
        produce(&producer, TOPIC, 0..records.parse()?, |n| n).await
    });
    match filled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fields() -> Vec<Field> {
    let field = |name, of| Field::new(name, of, true);
    vec![
        field("id", DataType::Int64),
        field("city", DataType::Utf8),
        field("celsius", DataType::Float64),
        field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
    ]
}

fn table() -> TableDef {
    TableDef::new()
        .optional("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("celsius", PrimitiveType::Double)
        .optional("at", PrimitiveType::Timestamptz)
}

fn in_rust() -> Stream {
    let name = "bench.in_rust".parse().expect("it is a name");
    let contract = Contract::of("lake://bench/in_rust").not_null(["id", "city"]).or(Policy::Quarantine);
    let contract = contract.between("celsius", -90, 60).or(Policy::Quarantine);
    Stream::new("in_rust").topic(TOPIC).json(Schema::new(fields())).contract(contract).append(name, table())
}

async fn produce(
    producer: &KafkaProducer,
    topic: &str,
    numbers: std::ops::Range<u64>,
    id: impl Fn(u64) -> u64,
) -> Result<()> {
    const CITIES: [&str; 5] = ["Oslo", "Bergen", "London", "Paris", "Rome"];
    let end = numbers.end;
    for from in numbers.step_by(LOT as usize) {
        let record = |n: u64| {
            let (id, city, minute) = (id(n), CITIES[(n % 5) as usize], n / 1_000 % 60);
            let value =
                format!(r#"{{"id":{id},"city":"{city}","celsius":{}.5,"at":"2026-11-25T06:{minute:02}:00Z"}}"#, n % 40);
            let partition = i16::try_from(id % 4).ok();
            NewRecord { value: Some(value.into()), partition, ..NewRecord::default() }
        };
        let lot: Vec<NewRecord> = (from..end.min(from + LOT)).map(record).collect();
        producer.produce(topic, &lot).await?;
    }
    Ok(())
}

/// Only reads and parses records: the upper bound of this client on this machine.
async fn bare(connection: &Connection, wanted: u64) -> Result<f64> {
    let mut topic = KafkaTopic::open(connection, TOPIC)?;
    let from: Vec<Position> = (0..PARTITIONS).map(|partition| Position { partition, offset: 0 }).collect();
    topic.seek(&from).await?;
    let most = Most { records: 16_384, bytes: 4 << 20 };
    let (start, mut read) = (Instant::now(), 0);
    while read < wanted {
        let mut records = Records::default();
        topic.read(&mut records, most, tokio::time::Instant::now() + Duration::from_secs(5)).await?;
        ensure!(!records.is_empty(), "the topic has {read} of {wanted} records");
        let mut parser =
            ReaderBuilder::new(Arc::new(Schema::new(fields()))).with_batch_size(most.records).build_decoder()?;
        for record in records.iter() {
            parser.decode(record.value.unwrap_or_default())?;
        }
        read += parser.flush()?.map_or(0, |rows| rows.num_rows() as u64);
    }
    Ok(read as f64 / start.elapsed().as_secs_f64())
}

impl World {
    /// Measures updates of existing keys in random order.
    async fn upserts(&self, producer: &KafkaProducer, records: u64) -> Result<f64> {
        const TOPIC: &str = "upserts";
        producer.create_topic(TOPIC, PARTITIONS).await?;
        produce(producer, TOPIC, 0..KEYS, |n| n).await?;
        let name = "bench.by_key".parse()?;
        let stream = Stream::new("by_key").topic(TOPIC).json(Schema::new(fields()));
        let stream = stream.upsert(name, table().key(["id"]), &["id"], None);
        self.rate(&stream, KEYS, KEYS).await?;
        produce(producer, TOPIC, KEYS..KEYS + records, |n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS).await?;
        self.rate(&stream, KEYS + records, records).await
    }

    /// Returns the milliseconds from the acknowledgement of a record until it is in the table.
    async fn freshness(&self, producer: &KafkaProducer, tries: usize) -> Result<Vec<f64>> {
        const TOPIC: &str = "fresh";
        producer.create_topic(TOPIC, PARTITIONS).await?;
        let stream = Stream::new("fresh").topic(TOPIC).json(Schema::new(fields()));
        let stream = stream.append("bench.fresh".parse()?, table()).commit_every(Duration::from_millis(500));
        let running = self.start(vec![stream]);
        let mut took = Vec::new();
        for number in 0..=tries as u64 {
            produce(producer, TOPIC, number..number + 1, |n| n).await?;
            let start = Instant::now();
            self.until("fresh", number + 1).await?;
            took.push(start.elapsed().as_secs_f64() * 1e3);
        }
        running.end().await;
        // The first value includes the start of the stream.
        took.remove(0);
        Ok(took)
    }
}
