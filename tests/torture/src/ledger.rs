//! The outside ledger: a file to which task functions append what they did, independent of orch.
//!
//! Each start and each end is one line, appended in one write. The file survives all kills, so it shows what really
//! ran, even if the database or a worker recorded something else.

use nix::time::{ClockId, clock_gettime};
use orch::Ctx;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use uuid::Uuid;

/// Variable with the path of the file. It does not start with `ORCH_`, so that child processes of workers inherit it.
pub const VARIABLE: &str = "TORTURE_LEDGER";

/// Returns the time since the machine started, by a clock that all processes share.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the machine has a clock");
    Duration::new(time.tv_sec().cast_unsigned(), time.tv_nsec() as u32)
}

/// Event that a task function records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    Start,
    /// The task function returned a value or was deferred.
    End,
    /// The task function returned an error.
    Fail,
}

impl Word {
    fn as_str(self) -> &'static str {
        match self {
            Word::Start => "start",
            Word::End => "end",
            Word::Fail => "fail",
        }
    }
}

/// A line of the ledger.
#[derive(Debug, Clone)]
pub struct Entry {
    pub run: Uuid,
    pub task_id: String,
    pub map_index: i32,
    pub attempt: Uuid,
    pub lease_no: i32,
    pub try_no: i16,
    pub word: Word,
    pub pid: i32,
    /// For a child process, the pid of the process that started it.
    pub parent: i32,
    pub at: Duration,
}

/// A started task function. Dropped without an end if it was ended from outside.
#[derive(Debug)]
pub struct Mark<'a> {
    ctx: &'a Ctx,
}

impl<'a> Mark<'a> {
    pub fn start(ctx: &'a Ctx) -> Mark<'a> {
        let mark = Mark { ctx };
        mark.write(Word::Start);
        mark
    }

    pub fn end(self) {
        self.write(Word::End);
    }

    pub fn fail(self) {
        self.write(Word::Fail);
    }

    fn write(&self, word: Word) {
        static FILE: OnceLock<File> = OnceLock::new();
        let mut file = FILE.get_or_init(open);
        let (run, this_try) = (self.ctx.run().run_key, self.ctx.this_try());
        let line = format!(
            "{run} {} {} {} {} {} {} {} {} {}\n",
            this_try.task_id,
            this_try.map_index.map_or(-1, u32::cast_signed),
            this_try.attempt,
            this_try.lease_no,
            this_try.try_number,
            word.as_str(),
            std::process::id(),
            std::os::unix::process::parent_id(),
            now().as_nanos(),
        );
        file.write_all(line.as_bytes()).expect("the ledger takes a line");
    }
}

#[expect(clippy::disallowed_methods, reason = "a body has no other way to learn of the file")]
fn open() -> File {
    let path = std::env::var_os(VARIABLE).expect("the supervisor names the ledger");
    OpenOptions::new().append(true).create(true).open(path).expect("the ledger can be opened")
}

/// Returns all lines so far, in the order in which they were written.
pub fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be incomplete.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| parse(line).unwrap_or_else(|| panic!("a line of the ledger is broken: `{line}`")))
        .collect()
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    Some(Entry {
        run: next()?.parse().ok()?,
        task_id: next()?.into(),
        map_index: next()?.parse().ok()?,
        attempt: next()?.parse().ok()?,
        lease_no: next()?.parse().ok()?,
        try_no: next()?.parse().ok()?,
        word: match next()? {
            "start" => Word::Start,
            "end" => Word::End,
            "fail" => Word::Fail,
            _ => return None,
        },
        pid: next()?.parse().ok()?,
        parent: next()?.parse().ok()?,
        at: Duration::from_nanos(next()?.parse().ok()?),
    })
}

/// Run, task and element.
pub type Instance = (Uuid, String, i32);

/// Groups the lines by instance, in order.
pub fn by_instance(entries: &[Entry]) -> BTreeMap<Instance, Vec<&Entry>> {
    let mut found: BTreeMap<Instance, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        found.entry((entry.run, entry.task_id.clone(), entry.map_index)).or_default().push(entry);
    }
    found
}
