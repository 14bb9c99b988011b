//! The watcher polls the conditions of deferred tasks. Deferred tasks occupy no slot, and schedulers do not poll.
//!
//! The watcher claims due conditions in batches with a lease, polls equal conditions once, and writes all results with
//! one statement. If a watcher dies, its conditions become due again when the lease expires. Schedulers only handle the
//! timeouts of waits.

mod eyes;
mod round;

use crate::queues::QueueIds;
use eyes::WorkerEyes;
use orch_sdk::task::{Conditions, WaitEnd};
use orch_sdk::wait;
use orch_store::hint::{Hint, Hints};
use orch_store::log::NewChunk;
use orch_store::watch::{self, ConditionOutcome, WatchedOutcome, Watcher};
use orch_store::{StoreResult, due};
use round::{Looked, Looks, Question};
use sqlx::{PgConnection, PgPool};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use eyes::Outlook;

/// Maximum number of conditions that one statement claims.
const BATCH: i64 = 500;
/// Maximum number of concurrent pokes.
const MOST_LOOKS: usize = 32;
/// Claim interval without a hint (a NOTIFY wake-up signal), if no condition is due earlier.
const POLL: Duration = Duration::from_mins(1);
/// Lease of claimed conditions, renewed while their pokes run. Conditions of a killed watcher become due after it.
const LEASE: Duration = Duration::from_secs(30);
/// Time that a result waits for further results, to write several with one statement.
const GATHER: Duration = Duration::from_millis(50);
/// Minimum time between two claims. It bounds the number of statements, however many different due times there are. A
/// hint about a new waiting condition triggers an earlier claim.
const BETWEEN: Duration = Duration::from_millis(250);
const BETWEEN_HINTS: Duration = Duration::from_millis(20);
/// Pause after a database error.
const PAUSE: Duration = Duration::from_millis(500);
const UNRECORDABLE: &str = "what was waited for cannot be recorded: it does not fit the database";
/// Maximum number of task instances that one statement makes claimable.
const WAKE: i64 = 1_000;
/// Maximum number of log lines that are buffered while the database does not store them.
const MAX_LINES: usize = 1_000;
/// Maximum total size of the buffered log lines. A single line can contain an error of 64 KiB.
const MAX_LINES_BYTES: usize = 4 << 20;

/// Polls conditions for one worker and its queues until `stop`.
pub(crate) struct Watch {
    watcher: Watcher,
    cold: PgPool,
    hints: Hints,
    eyes: WorkerEyes,
    todo: VecDeque<Question>,
    looks: Looks,
    answers: Vec<WatchedOutcome>,
    /// True if waits have ended and their task instances may not be claimable yet.
    has_ended: bool,
    /// Log lines of pokes for the waiting attempts. If `answers` is empty, the lines are left over from a failed
    /// insert.
    lines: Vec<NewChunk>,
    /// Earliest time at which storing the lines is retried.
    append_at: Instant,
    /// Arrival time of the first unwritten result.
    answered_at: Instant,
    kept_at: Instant,
    take_at: Instant,
    took_at: Instant,
}

impl Watch {
    pub(crate) fn new(cold: &PgPool, worker: i32, queues: &QueueIds, outlook: &Outlook, hints: &Hints) -> Self {
        let kinds = outlook.conditions.kinds().map(String::from).collect();
        Watch {
            watcher: Watcher { worker, queues: queues.all(), kinds, lease: LEASE },
            eyes: WorkerEyes::new(outlook, cold),
            cold: cold.clone(),
            hints: hints.clone(),
            todo: VecDeque::new(),
            looks: Looks::default(),
            answers: Vec::new(),
            has_ended: false,
            lines: Vec::new(),
            append_at: Instant::now(),
            answered_at: Instant::now(),
            kept_at: Instant::now(),
            take_at: Instant::now(),
            took_at: Instant::now(),
        }
    }

    pub(crate) async fn watch_until_stopped(mut self, stop: CancellationToken) {
        let hints = self.hints.clone();
        while !stop.is_cancelled() {
            let mut woken = std::pin::pin!(hints.on(Hint::Watch).notified());
            woken.as_mut().enable(); // armed before the round
            let pause = match self.round().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::debug!(%error, "the watcher waits for the database");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(looked) = self.looks.next() => self.note(looked),
                () = woken => self.take_at = self.take_at.min(self.took_at + BETWEEN_HINTS),
                () = tokio::time::sleep(pause) => {}
            }
            while let Some(looked) = self.looks.try_next() {
                self.note(looked);
            }
        }
        self.append_at = Instant::now();
        // Conditions whose results were not written are polled again by another watcher.
        if let Err(error) = self.say().await {
            tracing::debug!(%error, "the last results of the watcher were not written");
        }
        if !self.lines.is_empty() {
            let lines = self.lines.len();
            tracing::warn!(lines, "the watcher stops: log lines of waiting attempts were not stored and are lost");
        }
    }

    /// Writes results, claims due conditions and starts pokes. Returns the time until the next round.
    async fn round(&mut self) -> StoreResult<Duration> {
        let is_gathered = self.looks.is_empty() || self.answered_at.elapsed() >= GATHER;
        let has_results = self.has_ended || (!self.answers.is_empty() && is_gathered);
        if has_results || (self.keeps_lines() && Instant::now() >= self.append_at) {
            self.say().await?;
        }
        let has_room = self.todo.is_empty() && self.looks.len() < MOST_LOOKS && self.answers.is_empty();
        if has_room && Instant::now() >= self.take_at {
            self.take().await?;
        }
        while self.looks.len() < MOST_LOOKS
            && let Some(question) = self.todo.pop_front()
        {
            self.looks.begin(question, &self.eyes);
        }
        if !self.looks.is_empty() && self.kept_at.elapsed() >= LEASE / 3 {
            watch::keep(&mut *self.cold.acquire().await?, &self.watcher).await?;
            self.kept_at = Instant::now();
        }
        let now = Instant::now();
        let mut next = now + POLL;
        if !self.answers.is_empty() {
            next = next.min(self.answered_at + GATHER);
        } else if has_room && self.todo.is_empty() {
            next = next.min(self.take_at);
        }
        if !self.looks.is_empty() {
            next = next.min(self.kept_at + LEASE / 3);
        }
        if self.keeps_lines() {
            next = next.min(self.append_at);
        }
        Ok(next.saturating_duration_since(now))
    }

    /// Claims due conditions and computes the time of the next claim.
    async fn take(&mut self) -> StoreResult<()> {
        let mut db = self.cold.acquire().await?;
        let taken = watch::take_due(&mut db, &self.watcher, BATCH).await?;
        (self.took_at, self.kept_at) = (Instant::now(), Instant::now());
        let pause = if (taken.len() as i64) < BATCH {
            let next = watch::next_due(&mut db, &self.watcher).await?;
            next.unwrap_or(POLL).clamp(BETWEEN, POLL)
        } else {
            Duration::ZERO
        };
        self.take_at = self.took_at + pause;
        self.todo = round::questions(taken, &self.eyes);
        Ok(())
    }

    fn note(&mut self, looked: Looked) {
        if self.answers.is_empty() {
            self.answered_at = Instant::now();
        }
        for (answer, line) in looked {
            self.answers.push(answer);
            self.lines.extend(line);
        }
    }

    /// Returns true if log lines remain to be stored although their results are written.
    fn keeps_lines(&self) -> bool {
        self.answers.is_empty() && !self.lines.is_empty()
    }

    /// Writes all results and makes the task instances whose wait has ended claimable.
    async fn say(&mut self) -> StoreResult<()> {
        if self.answers.is_empty() && self.lines.is_empty() && !self.has_ended {
            return Ok(());
        }
        let mut db = self.cold.acquire().await?;
        // Stays set until the task instances are claimable, because a later statement may fail after the results were
        // written.
        self.has_ended |= self.answers.iter().any(|answer| matches!(answer.found, ConditionOutcome::End(_)));
        let again = self.answers.iter().filter_map(|answer| match answer.found {
            ConditionOutcome::NotYet { next_ms } | ConditionOutcome::Error { next_ms, .. } => Some(next_ms),
            ConditionOutcome::End(_) => None,
        });
        if let Some(soonest) = again.min() {
            let due = Instant::now() + Duration::from_millis(soonest.max(0).unsigned_abs());
            self.take_at = self.take_at.min(due.max(self.took_at + BETWEEN));
        }
        if !self.answers.is_empty() {
            write(&mut db, self.watcher.worker, &mut self.answers).await?;
        }
        if self.has_ended {
            while due::wake_waiting(&mut db, WAKE).await? >= WAKE as u64 {}
            self.has_ended = false;
            self.hints.give(Hint::Ready);
            // Task instances that need a slot must be admitted again.
            self.hints.give(Hint::Due);
        }
        if Instant::now() >= self.append_at {
            self.append_lines(&mut db).await;
        }
        Ok(())
    }

    /// Stores the log lines. After a transient error, keeps the newest lines and retries after `PAUSE`. While another
    /// session holds a lock on `log_chunk`, each insert blocks the watcher for up to the statement timeout of 10 s:
    /// running pokes continue, but no poke is started and no result is written meanwhile.
    async fn append_lines(&mut self, db: &mut PgConnection) {
        match orch_store::log::append(db, &self.lines).await {
            Ok(()) => self.lines.clear(),
            Err(error) if error.passes() => {
                self.append_at = Instant::now() + PAUSE;
                let lines = drop_oldest(&mut self.lines);
                if lines > 0 {
                    let cause = error.source_text();
                    tracing::warn!(%error, cause, lines, "the oldest log lines of waiting attempts are lost");
                } else {
                    tracing::debug!(%error, "log lines of waiting attempts are not stored yet");
                }
            }
            Err(error) => {
                let (lines, cause) = (self.lines.len(), error.source_text());
                tracing::warn!(%error, cause, lines, "log lines of waiting attempts could not be stored and are lost");
                self.lines.clear();
            }
        }
    }
}

/// Removes the oldest log lines in excess of `MAX_LINES` or `MAX_LINES_BYTES`. Returns the number of removed lines.
fn drop_oldest(lines: &mut Vec<NewChunk>) -> usize {
    let mut bytes = 0;
    let newest = lines.iter().rev().take(MAX_LINES).take_while(|line| {
        bytes += line.body.len();
        bytes <= MAX_LINES_BYTES
    });
    let removed = lines.len() - newest.count();
    lines.drain(..removed);
    removed
}

/// Writes results. If the database rejects the statement, bisects it to find the invalid result, ends the wait of that
/// result with an error, and writes the others.
async fn write(db: &mut PgConnection, worker: i32, answers: &mut Vec<WatchedOutcome>) -> StoreResult<()> {
    let mut batches = vec![std::mem::take(answers)];
    while let Some(mut batch) = batches.pop() {
        match watch::answer(db, worker, &batch).await {
            Ok(_) => {}
            Err(error) if error.is_of_one_item() && batch.len() > 1 => {
                let second = batch.split_off(batch.len() / 2);
                batches.extend([second, batch]);
            }
            Err(error) if error.is_of_one_item() => {
                let refused = WaitEnd::Failed { cause: UNRECORDABLE.into(), for_good: true };
                let Some(one) = batch.pop() else { continue };
                let (run, task, map_index, cause) = (one.run, one.task, one.map_index, error.source_text());
                tracing::error!(%run, task, map_index, %error, cause, "what a look found cannot be written");
                if !matches!(&one.found, ConditionOutcome::End(end) if *end == refused) {
                    batches.push(vec![WatchedOutcome { found: ConditionOutcome::End(refused), ..one }]);
                }
            }
            Err(error) => {
                answers.extend(batches.into_iter().flatten().chain(batch));
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Returns an error for a condition that this worker cannot poll.
pub(crate) fn check(conditions: &Conditions, awaited: &orch_sdk::task::Awaited) -> Result<(), String> {
    let kind = &awaited.kind;
    let condition = conditions.get(kind).ok_or_else(|| {
        let known: Vec<&str> = conditions.kinds().collect();
        format!(
            "no condition of kind `{kind}` is known here: it knows {}; register yours with `dag(…).condition(…)`",
            known.join(", ")
        )
    })?;
    condition.check(&awaited.config).map_err(|problem| format!("it cannot wait for this `{kind}`: {problem}"))?;
    match kind.as_str() {
        "any" | "all" => wait::several(&awaited.config)?.iter().try_for_each(|one| check(conditions, one)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secrets;
    use sqlx::postgres::PgPoolOptions;
    use std::io;
    use std::sync::{Arc, Mutex};
    use uuid::Uuid;

    fn line(seq: i32, bytes: usize) -> NewChunk {
        NewChunk { run: Uuid::nil(), attempt: Uuid::nil(), lease_no: 1, seq, lines: 1, body: "x".repeat(bytes) }
    }

    #[test]
    fn the_newest_lines_are_kept_up_to_a_number_and_a_size() {
        // (number of lines, bytes per line, expected number of removed lines)
        let cases: [(i32, usize, i32); 5] =
            [(0, 1, 0), (1_000, 1, 0), (1_003, 1, 3), (64, 64 * 1024, 0), (70, 64 * 1024, 6)];
        for (count, bytes, removed) in cases {
            let mut lines: Vec<NewChunk> = (0..count).map(|seq| line(seq, bytes)).collect();
            assert_eq!(drop_oldest(&mut lines), removed as usize, "{count} lines of {bytes} bytes");
            let left: Vec<i32> = lines.iter().map(|line| line.seq).collect();
            assert_eq!(left, (removed..count).collect::<Vec<i32>>(), "{count} lines of {bytes} bytes");
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panicked").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn lines_that_are_lost_at_the_stop_are_reported() {
        let (log, stop) = (Log::default(), CancellationToken::new());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _log = tracing::subscriber::set_default(subscriber);
        let nowhere = PgPoolOptions::new().acquire_timeout(Duration::from_millis(50));
        let nowhere = nowhere.connect_lazy("postgres://127.0.0.1:1/none").unwrap();
        let outlook = Outlook { conditions: Arc::new(Conditions::default()), secrets: Secrets::none() };
        let mut watch = Watch::new(&nowhere, 1, &QueueIds::default(), &outlook, &Hints::new());
        watch.lines = vec![line(0, 1), line(1, 1)];
        stop.cancel();
        watch.watch_until_stopped(stop).await;
        let log = String::from_utf8(log.0.lock().expect("no writer panicked").clone()).expect("text");
        assert!(log.contains("were not stored and are lost") && log.contains("lines=2"), "{log}");
    }
}
