//! Task logs: captured per attempt, shipped to the database while the attempt runs, and limited in rate and size.
//!
//! A log line goes into its attempt's buffer and never blocks the task. The shipper writes full or old buffers as
//! chunks, numbered per (attempt, lease), over its own connection, and resends chunks that the database did not accept.
//! A killed worker loses at most the lines since the last shipment. If the database is unavailable, the buffers of all
//! attempts hold at most `MAX_UNSENT_BYTES`; further lines are dropped, and a log line reports how many.

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
use orch_store::bounded::ByteBudget;
use orch_store::log::{LeftOut, NewChunk};
use orch_store::progress::NewProgress;
use orch_store::step::Lease;
use progress::Progress;
use shipping::Unsent;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

/// Maximum number of bytes of log lines that a worker holds for all its attempts until the database has stored them.
const MAX_UNSENT_BYTES: usize = 64 << 20;
/// Size at which a chunk is written. Smaller chunks are written some time after their first line.
const CHUNK_BYTES: usize = 64 * 1024;
/// Overhead in bytes that is added to the text of a chunk when its size is counted.
const CHUNK_OVERHEAD: usize = 128;
/// Sustained rate at which an attempt may log, in bytes per second, and the maximum burst in bytes.
const RATE_BYTES_PER_S: f64 = 1024.0 * 1024.0;
const BURST_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// Size of the log tail that is always kept, even if the rate limit dropped the lines before it.
const END_BYTES: usize = 64 * 1024;
/// Maximum total length of the lines that report dropped lines.
const GAP_BYTES: usize = 512;

/// The log of one attempt while it runs.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    lease: Lease,
    state: Mutex<State>,
    /// True if the log is in the shipper's queue or is being shipped.
    queued: AtomicBool,
    shipper: Shipper,
    progress: Progress,
}

#[derive(Debug)]
struct State {
    /// Unshipped lines, in pieces of up to `CHUNK_BYTES` plus one line.
    pieces: VecDeque<Piece>,
    seq: i32,
    /// Number of bytes that the rate limit currently permits.
    allowance: f64,
    refilled: Instant,
    /// Number of lines dropped since the last kept line, by cause. Does not count the lines in `held_back`.
    lost: [u64; 2],
    /// The most recent lines over the limit. If the log ends here, they are its tail and are kept; otherwise they are
    /// dropped.
    held_back: VecDeque<(String, Loss)>,
    held_back_bytes: usize,
    /// Bytes of `pieces` and `held_back` that are reserved in the worker's log budget.
    bytes: usize,
    budget: Arc<ByteBudget>,
    bounds: Bounds,
}

/// Consecutive lines that become one chunk.
#[derive(Debug, Default)]
struct Piece {
    text: String,
    lines: i32,
}

/// Cause of a dropped line.
#[derive(Debug, Clone, Copy)]
enum Loss {
    TooFast,
    /// The buffers are full because the database does not accept lines fast enough.
    Unsent,
}

impl Loss {
    const ALL: [Loss; 2] = [Loss::TooFast, Loss::Unsent];

    fn text(self, lines: u64) -> String {
        match self {
            Loss::TooFast => format!("{lines} lines were not kept: more than 1 MB/s"),
            Loss::Unsent => format!("{lines} lines were lost here: the database did not take them in time"),
        }
    }
}

impl State {
    /// Adds a line whose memory the caller has reserved. Returns the number of bytes that the line occupies.
    fn keep(&mut self, line: &str) -> usize {
        let is_full = self.pieces.back().is_none_or(|last| last.text.len() >= CHUNK_BYTES);
        if is_full {
            if let Some(last) = self.pieces.back_mut() {
                last.text.shrink_to_fit();
            }
            self.pieces.push_back(Piece::default());
        }
        let last = self.pieces.back_mut().expect("one was added if there was none");
        last.text.push_str(line);
        last.text.push('\n');
        last.lines += 1;
        line.len() + 1 + if is_full { CHUNK_OVERHEAD } else { 0 }
    }

    /// Keeps the line if the worker's log budget has enough free bytes. Returns false otherwise.
    fn keep_if_free(&mut self, line: &str) -> bool {
        let most = line.len() + 1 + CHUNK_OVERHEAD;
        let is_free = self.budget.try_reserve(0, most);
        if is_free {
            let added = self.keep(line);
            self.bytes += added;
            self.budget.release(most - added);
        }
        is_free
    }

    /// Keeps a line if the attempt's part of the budget has free bytes for the line and for the tail of the log. If
    /// lines were dropped before it, first adds a line that reports their number.
    fn keep_in_share(&mut self, line: &str) -> bool {
        let has_gap = self.lost != [0; 2] || !self.held_back.is_empty();
        let most = line.len() + 1 + CHUNK_OVERHEAD + if has_gap { GAP_BYTES } else { 0 };
        if !self.budget.try_reserve(self.bytes + self.bytes.min(END_BYTES), most) {
            return false;
        }
        let held_back = std::mem::take(&mut self.held_back);
        held_back.into_iter().for_each(|(line, loss)| self.forget(&line, loss));
        let added = self.keep_gap() + self.keep(line);
        self.bytes += added;
        self.budget.release(most.saturating_sub(added));
        true
    }

    /// Holds back a line over the limit in case it belongs to the tail of the log. Drops the line if it cannot be held
    /// back.
    fn leave_out(&mut self, line: String, loss: Loss) {
        loop {
            let is_short = self.held_back.is_empty() || self.held_back_bytes + line.len() < END_BYTES;
            if is_short && self.budget.try_reserve(self.bytes, line.len()) {
                self.bytes += line.len();
                self.held_back_bytes += line.len();
                self.held_back.push_back((line, loss));
                return;
            }
            let Some((first, of_first)) = self.held_back.pop_front() else { break };
            self.forget(&first, of_first);
        }
        self.lost[loss as usize] += 1;
    }

    /// Counts a held-back line as dropped.
    fn forget(&mut self, line: &str, loss: Loss) {
        self.bytes -= line.len();
        self.held_back_bytes -= line.len();
        self.budget.release(line.len());
        self.lost[loss as usize] += 1;
    }

    /// Keeps the held-back lines as the tail of the log. Returns the number of lines.
    fn close_end(&mut self) -> usize {
        let added = self.keep_gap();
        self.bytes += added;
        self.budget.add(added);
        let end = std::mem::take(&mut self.held_back);
        for (line, _) in &end {
            let added = self.keep(line);
            self.bytes += added - line.len();
            self.budget.add(added - line.len());
        }
        self.held_back_bytes = 0;
        end.len()
    }

    /// Adds lines that report the number of dropped lines. Returns the number of bytes that they occupy.
    fn keep_gap(&mut self) -> usize {
        let lost = std::mem::take(&mut self.lost);
        let gaps = Loss::ALL.into_iter().zip(lost).filter(|(_, lines)| *lines > 0);
        gaps.map(|(loss, lines)| self.keep(&LogLine::about_the_log(loss.text(lines)).to_json())).sum()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// Queue of logs that have lines to ship.
#[derive(Debug, Clone)]
pub(crate) struct Shipper {
    queue: mpsc::Sender<Arc<AttemptLog>>,
    urgent: Arc<Notify>,
    budget: Arc<ByteBudget>,
}

impl AttemptLog {
    pub(crate) fn new(lease: Lease, shipper: Shipper) -> Arc<Self> {
        let state = State {
            pieces: VecDeque::new(),
            seq: 0,
            allowance: BURST_BYTES,
            refilled: Instant::now(),
            lost: [0; 2],
            held_back: VecDeque::new(),
            held_back_bytes: 0,
            bytes: 0,
            budget: shipper.budget.clone(),
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
                state.leave_out(text, Loss::TooFast);
                return;
            }
            if !state.keep_in_share(&text) {
                state.leave_out(text, Loss::Unsent);
                return;
            }
            state.allowance -= text.len() as f64;
            state.pieces.len() > 1 || state.pieces.back().is_some_and(|last| last.text.len() >= CHUNK_BYTES)
        };
        self.hand_in();
        if full {
            self.shipper.urgent.notify_one();
        }
    }

    /// Records the progress of the attempt. Progress is shipped with the log and periodically added to it as a line.
    pub(crate) fn progress(self: &Arc<Self>, rows: u64, bytes: u64) {
        if let Some(said) = self.progress.say(rows, bytes) {
            self.say(&progress_line(&said));
        }
        self.hand_in();
    }

    /// Ends the log of an attempt: adds `how` as the last line, bypassing the rate limit, and ships the log soon.
    pub(crate) fn close(self: &Arc<Self>, how: Option<&LogLine>) {
        let said_last = {
            let mut state = self.state.lock().expect("nothing panics while holding it");
            let mut said_last = state.close_end();
            let progress = self.progress.last_line().map(|said| progress_line(&said));
            for line in progress.iter().chain(how) {
                if !state.keep_if_free(&line.masked_json()) {
                    tracing::error!(attempt = %self.lease.attempt, "the last line of a log is lost: the buffers are full");
                }
                said_last += 1;
            }
            said_last
        };
        if self.queued.load(Ordering::Acquire) || said_last > 0 {
            self.hand_in();
            self.shipper.urgent.notify_one();
            if !self.queued.load(Ordering::Acquire) && !self.shipper.queue.is_closed() {
                tracing::error!(attempt = %self.lease.attempt, "the end of a log is lost: too many logs wait for the database");
            }
        }
    }

    fn hand_in(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = self.shipper.queue.try_send(self.clone()) {
            // The queue is full. The next line of this log adds it again.
            self.queued.store(false, Ordering::Release);
        }
    }

    /// Moves chunks of about `most_bytes`, with their reserved budget, to `into`. Returns true if chunks remain.
    fn take(&self, into: &mut Unsent, most_bytes: usize) -> bool {
        let Lease { run, attempt, lease_no, .. } = self.lease;
        let is_left = {
            let mut state = self.state.lock().expect("nothing panics while holding it");
            let mut taken = 0;
            while taken < most_bytes
                && let Some(Piece { text: mut body, lines }) = state.pieces.pop_front()
            {
                body.shrink_to_fit();
                let seq = state.seq;
                state.seq += 1;
                if let Some(gap) = state.bounds.add(seq, body.len(), lines) {
                    let text = LogLine::about_the_log(gap.text()).to_json() + "\n";
                    let (first, last, lines) = (gap.first, gap.last, i32::try_from(gap.lines).unwrap_or(i32::MAX));
                    let gap = LeftOut { run, attempt, lease_no, first, last, lines, text };
                    into.left_out.insert((attempt, lease_no), gap);
                }
                let chunk = NewChunk { run, attempt, lease_no, seq, lines, body };
                let bytes = shipping::bytes_of(&chunk);
                taken += bytes;
                state.bytes -= bytes;
                into.bytes += bytes;
                into.chunks.push(chunk);
            }
            let is_left = !state.pieces.is_empty();
            if !is_left {
                // Reset while the lock is held, so that a line that arrives now adds the log to the queue again.
                self.queued.store(false, Ordering::Release);
            }
            is_left
        };
        into.progress.extend(self.progress.take().map(|said| (attempt, NewProgress { run, attempt, lease_no, said })));
        is_left
    }
}

fn progress_line(said: &orch_store::progress::Progress) -> LogLine {
    LogLine::new(LogLevel::Info, "orch", format!("progress: {}", said.in_words()), serde_json::Map::new())
}
