//! Append rate of the built-in log: 200,000 records of 100 bytes, 500 per transaction, in four partitions; and the
//! effect of the promised rate on the gap of a chain that runs at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use orch_store::connect;
use orch_store::topic::{NewRecord, produce};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{Bench, Figure, latency, stats};

const RECORDS: usize = 200_000;
const RECORDS_QUICK: usize = 20_000;
const BATCH: usize = 500;
/// Records per second while a chain runs.
const PACE: f64 = 20_000.0;
const TOPIC: &str = "insert into topic (name, partitions) values ('bench', 4) on conflict do nothing";

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let records = bench.times(RECORDS, RECORDS_QUICK);
    let url = bench.fresh()?.database_url.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut db = runtime.block_on(connect::one(&url, "orch bench"))?;
    runtime.block_on(sqlx::query(TOPIC).execute(&mut db))?;
    let began = Instant::now();
    for _ in 0..records / BATCH {
        runtime.block_on(append(&mut db))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    runtime.block_on(db.close())?;
    let rate = Figure::new("topic_records_per_s", records as f64 / seconds, 1);
    let repetitions = bench.times(15, 5);
    let alone = stats::median(&latency::chain_gaps(bench, "chain100", repetitions)?);
    let producer = Producer::start(url);
    let beside = latency::chain_gaps(bench, "chain100", repetitions);
    let pace = producer.stop()?;
    let ratio = Figure::new("topic_chain_gap_ratio", stats::median(&beside?) / alone, repetitions);
    let rate = rate.with("records", records).with("batch", BATCH);
    Ok(vec![rate, ratio.with("alone_ms", alone).with("records_per_s", pace)])
}

async fn append(db: &mut PgConnection) -> Result<()> {
    let value = vec![b'x'; 100];
    let record = |n: usize| NewRecord { value: Some(value.clone()), ..NewRecord::default() }.key(format!("key {n}"));
    let records: Vec<NewRecord> = (0..BATCH).map(record).collect();
    let mut tx = db.begin().await?;
    produce(&mut tx, "bench", &records).await?;
    tx.commit().await?;
    Ok(())
}

/// Appends records at a fixed rate in a separate thread.
struct Producer {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<()>>,
    appended: Arc<AtomicUsize>,
    began: Instant,
}

impl Producer {
    fn start(url: String) -> Producer {
        let (over, appended, began) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Instant::now());
        let (until, count) = (Arc::clone(&over), Arc::clone(&appended));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut db = connect::one(&url, "orch bench producer").await?;
                let mut next = tokio::time::interval(Duration::from_secs_f64(BATCH as f64 / PACE));
                while !until.load(Ordering::Acquire) {
                    next.tick().await;
                    append(&mut db).await?;
                    count.fetch_add(BATCH, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Producer { over, thread, appended, began }
    }

    /// Stops the producer and returns the records per second that it achieved.
    fn stop(self) -> Result<f64> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow::anyhow!("the producer fell over"))??;
        Ok(self.appended.load(Ordering::Relaxed) as f64 / seconds)
    }
}
