//! What bodies say: caught per attempt, shipped while they run, bounded in every direction.
//!
//! A line goes into its attempt's buffer and never waits for anything. The shipper writes full or old buffers as
//! chunks, numbered per (attempt, lease), on a connection of its own; what the database does not take is sent again. A
//! killed worker loses at most what was said since the last shipment.

mod bounds;
mod capture;
mod line;
mod progress;
mod shipping;

pub(crate) use capture::ATTEMPT_LOG;
pub use capture::capture_layer;
pub(crate) use line::LogLine;
pub(crate) use shipping::shipping;

use bounds::Bounds;
use orch_sdk::task::LogLevel;
use orch_store::log::{LeftOut, NewChunk};
use orch_store::progress::NewProgress;
use orch_store::step::Lease;
use progress::Progress;
use shipping::Unsent;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};

/// A chunk is written when it is this large, or some time after its first line.
const CHUNK_BYTES: usize = 64 * 1024;
/// Sustained rate that is kept, and what may come at once.
const RATE_BYTES_PER_S: f64 = 1024.0 * 1024.0;
const BURST_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// What was said last is kept however fast it came.
const END_BYTES: usize = 64 * 1024;
/// The log of one attempt while it runs.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    lease: Lease,
    state: Mutex<State>,
    queued: AtomicBool,
    shipper: Shipper,
    progress: Progress,
}

#[derive(Debug)]
struct State {
    text: String,
    lines: i32,
    seq: i32,
    /// Bytes that may still be said now.
    allowance: f64,
    refilled: Instant,
    /// Lines that were not kept since the last that was, and the end of them: if nothing follows, they are the log's end.
    dropped: u64,
    held_back: VecDeque<String>,
    held_back_bytes: usize,
    bounds: Bounds,
}

impl State {
    fn keep(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    /// Too fast: it is counted, and kept only if it turns out to be of the end.
    fn leave_out(&mut self, line: String) {
        self.dropped += 1;
        self.held_back_bytes += line.len();
        self.held_back.push_back(line);
        while self.held_back_bytes > END_BYTES && self.held_back.len() > 1 {
            self.held_back_bytes -= self.held_back.pop_front().map_or(0, |line| line.len());
        }
    }

    /// Others follow those that were left out.
    fn close_gap(&mut self) {
        self.held_back.clear();
        self.keep_gap(0);
    }

    /// Nothing follows.
    fn close_end(&mut self) -> usize {
        let end = std::mem::take(&mut self.held_back);
        self.keep_gap(end.len() as u64);
        end.iter().map(|line| self.keep(line)).count()
    }

    /// What stands where lines are missing, but for those that come.
    fn keep_gap(&mut self, coming: u64) {
        self.held_back_bytes = 0;
        let missing = std::mem::take(&mut self.dropped) - coming;
        if missing > 0 {
            let gap = LogLine::about_the_log(format!("{missing} lines were not kept: more than 1 MB/s"));
            self.keep(&gap.to_json());
        }
    }
}

/// Where attempts hand in that they have something to ship.
#[derive(Debug, Clone)]
pub(crate) struct Shipper {
    queue: mpsc::Sender<Arc<AttemptLog>>,
    urgent: Arc<Notify>,
}

impl AttemptLog {
    pub(crate) fn new(lease: Lease, shipper: Shipper) -> Arc<Self> {
        let state = State {
            text: String::new(),
            lines: 0,
            seq: 0,
            allowance: BURST_BYTES,
            refilled: Instant::now(),
            dropped: 0,
            held_back: VecDeque::new(),
            held_back_bytes: 0,
            bounds: Bounds::default(),
        };
        Arc::new(AttemptLog {
            lease,
            state: Mutex::new(state),
            queued: AtomicBool::new(false),
            shipper,
            progress: Progress::default(),
        })
    }

    pub(crate) fn say(self: &Arc<Self>, line: &LogLine) {
        let text = line.masked_json();
        let full = {
            let mut state = self.state.lock().expect("nothing panics while holding it");
            let now = Instant::now();
            let since = now.duration_since(state.refilled).as_secs_f64();
            state.allowance = (state.allowance + since * RATE_BYTES_PER_S).min(BURST_BYTES);
            state.refilled = now;
            if state.allowance < text.len() as f64 {
                state.leave_out(text);
                return;
            }
            state.allowance -= text.len() as f64;
            if state.dropped > 0 {
                state.close_gap();
            }
            state.keep(&text);
            state.text.len() >= CHUNK_BYTES
        };
        self.hand_in();
        if full {
            self.shipper.urgent.notify_one();
        }
    }

    /// How far the attempt is; it is shipped with the log, and now and then it is a line of it.
    pub(crate) fn progress(self: &Arc<Self>, rows: u64, bytes: u64) {
        if let Some(said) = self.progress.say(rows, bytes) {
            self.say(&progress_line(&said));
        }
        self.hand_in();
    }

    /// The attempt is over: what it said should be seen soon, how it ended last of all, however much was said before.
    pub(crate) fn close(self: &Arc<Self>, how: Option<&LogLine>) {
        let said_last = {
            let mut state = self.state.lock().expect("nothing panics while holding it");
            let progress = self.progress.last_line().map(|said| progress_line(&said));
            state.close_end() + progress.iter().chain(how).map(|line| state.keep(&line.masked_json())).count()
        };
        if self.queued.load(Ordering::Acquire) || said_last > 0 {
            self.hand_in();
            self.shipper.urgent.notify_one();
        }
    }

    fn hand_in(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) && self.shipper.queue.try_send(self.clone()).is_err() {
            // The queue is full or closed: the next line tries again.
            self.queued.store(false, Ordering::Release);
        }
    }

    fn take(&self, into: &mut Unsent) {
        self.queued.store(false, Ordering::Release);
        let Lease { run, attempt, lease_no, .. } = self.lease;
        into.progress.extend(self.progress.take().map(|said| (attempt, NewProgress { run, attempt, lease_no, said })));
        let mut state = self.state.lock().expect("nothing panics while holding it");
        if state.text.is_empty() {
            return;
        }
        let (body, lines) = (std::mem::take(&mut state.text), std::mem::take(&mut state.lines));
        let seq = state.seq;
        state.seq += 1;
        if let Some(gap) = state.bounds.add(seq, body.len(), lines) {
            let text = LogLine::about_the_log(gap.text()).to_json() + "\n";
            let (first, last, lines) = (gap.first, gap.last, i32::try_from(gap.lines).unwrap_or(i32::MAX));
            into.left_out.insert((attempt, lease_no), LeftOut { run, attempt, lease_no, first, last, lines, text });
        }
        into.chunks.push(NewChunk { run, attempt, lease_no, seq, lines, body });
    }
}

fn progress_line(said: &orch_store::progress::Progress) -> LogLine {
    LogLine::new(LogLevel::Info, "orch", format!("progress: {}", said.in_words()), serde_json::Map::new())
}
