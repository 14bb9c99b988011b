//! The measured task functions, and the notes of when each one started and ended.
//!
//! Notes stay in memory, because writing a file or a row would change the measurement. The DAG `bench_dump` writes the
//! notes to a file on request of the driver and clears them. Task functions of the throughput rows are only counted.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use orch::prelude::*;

use crate::clock;

/// Variable with the folder for dumps. If it is not set, nothing is noted and this is an ordinary orch.
pub(crate) const FOLDER_VARIABLE: &str = "ORCH_BENCH_FOLDER";
/// Maximum number of notes in memory. Rows dump their notes well below it; it bounds memory if no driver requests a
/// dump.
const MOST_NOTES: usize = 200_000;

static NOTES: Mutex<Vec<Note>> = Mutex::new(Vec::new());
static COUNTED: AtomicU64 = AtomicU64::new(0);
static FIRST_START: AtomicU64 = AtomicU64::new(u64::MAX);
static LAST_END: AtomicU64 = AtomicU64::new(0);

/// Start and end of one call of a task function, in nanoseconds of [`clock::now`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Totals of task functions that are only counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) count: u64,
    pub(crate) first_start: u64,
    pub(crate) last_end: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dump {
    pub(crate) notes: Vec<Note>,
    pub(crate) counted: Counted,
}

/// Does nothing.
#[task]
pub(crate) async fn noop(ctx: Ctx) -> TaskResult<()> {
    let start = clock::now();
    note(&ctx, start);
    Ok(())
}

/// Does a little.
#[task]
pub(crate) async fn fib_10(ctx: Ctx) -> TaskResult<()> {
    let start = clock::now();
    std::hint::black_box(fib(std::hint::black_box(10)));
    note(&ctx, start);
    Ok(())
}

/// Does nothing and is counted.
#[task]
pub(crate) async fn counted() -> TaskResult<()> {
    count(clock::now());
    Ok(())
}

/// The numbers below `size.elements`.
#[task]
pub(crate) async fn numbers(size: MapSize) -> TaskResult<Vec<u32>> {
    Ok((0..size.elements).collect())
}

/// An element that does nothing and is counted.
#[task]
pub(crate) async fn element(number: u32) -> TaskResult<()> {
    let start = clock::now();
    std::hint::black_box(number);
    count(start);
    Ok(())
}

/// Writes the notes to a file and forgets them.
#[task]
pub(crate) async fn dump(request: DumpRequest) -> TaskResult<()> {
    let Some(folder) = folder() else {
        return Err(fatal(format!("`{FOLDER_VARIABLE}` is not set: nothing was noted")));
    };
    if !is_file_name(&request.file) {
        return Err(fatal(format!("`{}` is no name for a dump: use letters, digits and `_`", request.file)));
    }
    let dump = take();
    let path = folder.join(request.file);
    std::fs::write(&path, serde_json::to_vec(&dump)?).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Says a line every 50 ms.
#[task]
pub(crate) async fn talk(ctx: Ctx, time: Talk) -> TaskResult<()> {
    for number in 0..time.seconds * 20 {
        ctx.info(format!("line {number}: \u{1b}[32m{} rows\u{1b}[0m of the file were read and written", number * 17));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Says lines of a log, one of them huge, with colours and bytes that are no text.
#[task]
pub(crate) async fn shout(ctx: Ctx, size: Shout) -> TaskResult<()> {
    ctx.info("x".repeat(size.line_mb as usize * 1_000_000));
    let line = format!("\u{1b}[31mred\u{1b}[0m \0\u{1}\u{fffd} {}", "y".repeat(970));
    for _ in 0..u64::from(size.mb) * 1_000 {
        ctx.info(&line);
    }
    ctx.info("the last line");
    Ok(())
}

/// The same on its standard output.
#[task(isolation = Isolation::Process)]
pub(crate) async fn shout_apart(size: Shout) -> TaskResult<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let piece = vec![b'x'; 1_000_000];
    for _ in 0..size.line_mb {
        out.write_all(&piece)?;
    }
    let mut line = b"\n\x1b[31mred\x1b[0m \x00\xff\xfe ".to_vec();
    line.resize(999, b'y');
    line.push(b'\n');
    for _ in 0..u64::from(size.mb) * 1_000 {
        out.write_all(&line)?;
    }
    out.write_all(b"the last line\n")?;
    out.flush()?;
    Ok(())
}

/// How long it talks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Talk {
    #[schemars(range(max = 3_600))]
    pub(crate) seconds: u32,
}

impl Default for Talk {
    fn default() -> Self {
        Talk { seconds: 60 }
    }
}

/// How much a task says, and how long its longest line is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shout {
    #[schemars(range(max = 10_000))]
    pub(crate) mb: u32,
    #[schemars(range(max = 1_000))]
    pub(crate) line_mb: u32,
}

impl Default for Shout {
    fn default() -> Self {
        Shout { mb: 64, line_mb: 20 }
    }
}

/// How long the mapped list is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MapSize {
    #[schemars(range(max = 1_000_000))]
    pub(crate) elements: u32,
}

impl Default for MapSize {
    fn default() -> Self {
        MapSize { elements: 1_000 }
    }
}

/// Where the driver looks for the notes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DumpRequest {
    pub(crate) file: String,
}

fn fib(number: u32) -> u64 {
    if number < 2 { u64::from(number) } else { fib(number - 1) + fib(number - 2) }
}

fn note(ctx: &Ctx, start: u64) {
    let end = clock::now();
    if folder().is_none() {
        return;
    }
    let mut notes = NOTES.lock().expect("nothing panics while holding it");
    if notes.len() < MOST_NOTES {
        notes.push(Note { run_id: ctx.run_id().into(), task_id: ctx.task_id().into(), start, end });
    }
}

fn count(start: u64) {
    FIRST_START.fetch_min(start, Ordering::Relaxed);
    LAST_END.fetch_max(clock::now(), Ordering::Relaxed);
    COUNTED.fetch_add(1, Ordering::Relaxed);
}

fn take() -> Dump {
    let notes = std::mem::take(&mut *NOTES.lock().expect("nothing panics while holding it"));
    let counted = Counted {
        count: COUNTED.swap(0, Ordering::Relaxed),
        first_start: FIRST_START.swap(u64::MAX, Ordering::Relaxed),
        last_end: LAST_END.swap(0, Ordering::Relaxed),
    };
    Dump { notes, counted }
}

fn folder() -> Option<&'static PathBuf> {
    static FOLDER: std::sync::OnceLock<Option<PathBuf>> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a word between the driver and its child, not a setting of orch")]
    FOLDER.get_or_init(|| std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from)).as_ref()
}

/// Rejects names that could lead out of the folder: they come from a conf, so from any user who may trigger a run.
fn is_file_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_stays_in_its_folder() {
        assert!(is_file_name("chain100_3"));
        for name in ["", ".", "..", "../up", "a/b", "a.json", "a b", "ä"] {
            assert!(!is_file_name(name), "{name}");
        }
    }

    #[test]
    fn a_dump_forgets_what_it_took() {
        count(5);
        count(3);
        let dump = take();
        assert_eq!((dump.counted.count, dump.counted.first_start), (2, 3));
        assert_eq!(take().counted.count, 0);
    }
}
