//! Writes that fail in the middle because the disk is full, simulated by a limit on the file size. The limit applies
//! to the whole process, so this test has its own binary.

use arrow::array::{Int64Array, RecordBatch};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::parquet;
use std::sync::Arc;
use tempfile::TempDir;

const LIMIT: u64 = 1 << 20;

#[test]
fn what_does_not_fit_on_the_disk_is_told_and_leaves_nothing() {
    // Without the mask, the signal would kill the process before the write can fail. Threads started later inherit
    // the mask.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    signals.thread_block().expect("a thread may ignore a signal");
    setrlimit(Resource::RLIMIT_FSIZE, LIMIT, LIMIT).expect("a limit may be lowered");
    let folder = TempDir::new().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(write_too_much(folder.path()));
    // A runtime thread removes what the upload left. Dropping the runtime waits for that thread.
    drop(runtime);
    let left = std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["kept"]);
}

async fn write_too_much(folder: &std::path::Path) {
    let bucket = Bucket::open(&format!("file://{}", folder.display()), &Options::default()).expect("a folder");
    bucket.put("kept", "old").await.expect("there is room");
    let large = vec![7_u8; 2 << 20];
    let told = |error: &anyhow::Error| error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let put = told(&bucket.put("kept", large).await.expect_err("there is no room").into());
    assert!(put.contains("cannot write `file://") && put.contains("/kept`"), "{put}");
    assert_eq!(bucket.get("kept").await.expect("the old one"), "old");
    // These numbers do not compress.
    let batch = |part: i64| {
        let numbers = (0..50_000).map(|n: i64| (n + part * 50_000).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
        let column = Arc::new(Int64Array::from_iter_values(numbers));
        RecordBatch::try_from_iter([("n", column as _)]).expect("it fits")
    };
    let batches: Vec<RecordBatch> = (0..60).map(batch).collect();
    let rows = Batches::of(batches[0].schema(), batches);
    let written = told(&parquet::write(&bucket, "large.parquet", rows).await.expect_err("there is no room"));
    assert!(written.contains("large.parquet"), "{written}");
}
