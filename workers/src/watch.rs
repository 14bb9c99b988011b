//! The watcher: looks at what deferred tasks wait for. No task of it takes a slot, and no scheduler looks.
//!
//! It takes conditions that are due in batches, for a while; looks once for all that are equal; writes all answers with one
//! statement. Whatever it was at when it died is due again soon after. Schedulers only see to it that a wait that takes too
//! long ends.

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

/// Conditions taken and answered by one statement.
const BATCH: i64 = 500;
/// Looks under way.
const MOST_LOOKS: usize = 32;
/// Without a hint somebody still looks after so long whether there is anything to look at.
const POLL: Duration = Duration::from_mins(1);
/// What a killed watcher had taken is due again after so long. Kept as long as it looks.
const LEASE: Duration = Duration::from_secs(30);
/// Answers wait for others so long.
const GATHER: Duration = Duration::from_millis(50);
/// It takes no more often than that, however many conditions are due at different moments: a bound on statements. What
/// just began to wait is looked at sooner.
const BETWEEN: Duration = Duration::from_millis(250);
const BETWEEN_HINTS: Duration = Duration::from_millis(20);
/// After an error of the database.
const PAUSE: Duration = Duration::from_millis(500);
const UNRECORDABLE: &str = "what was waited for cannot be recorded: it does not fit the database";
/// What was waited for is made claimable in steps of so many.
const WAKE: i64 = 1_000;

/// Looks until `stop`, for `worker` and its queues.
pub(crate) struct Watch {
    watcher: Watcher,
    cold: PgPool,
    hints: Hints,
    eyes: WorkerEyes,
    todo: VecDeque<Question>,
    looks: Looks,
    answers: Vec<WatchedOutcome>,
    /// What looks say for the logs of the tries that wait.
    lines: Vec<NewChunk>,
    /// When the first of them came.
    answered_at: Instant,
    kept_at: Instant,
    /// The next take.
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
            lines: Vec::new(),
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
            woken.as_mut().enable(); // armed before we look
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
        // What is known is worth saying; what is not said is looked at again.
        if let Err(error) = self.say().await {
            tracing::debug!(%error, "the last answers of the watcher were not heard");
        }
    }

    /// Says what is known, takes what is due, begins looks. How long there is nothing else to do.
    async fn round(&mut self) -> StoreResult<Duration> {
        if !self.answers.is_empty() && (self.looks.is_empty() || self.answered_at.elapsed() >= GATHER) {
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
        Ok(next.saturating_duration_since(now))
    }

    /// Takes what is due, and finds out when to take again.
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

    /// All answers at once. What was waited for is claimable then.
    async fn say(&mut self) -> StoreResult<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let mut db = self.cold.acquire().await?;
        let ended = self.answers.iter().any(|answer| matches!(answer.found, ConditionOutcome::End(_)));
        let again = self.answers.iter().filter_map(|answer| match answer.found {
            ConditionOutcome::NotYet { next_ms } | ConditionOutcome::Error { next_ms, .. } => Some(next_ms),
            ConditionOutcome::End(_) => None,
        });
        if let Some(soonest) = again.min() {
            let due = Instant::now() + Duration::from_millis(soonest.max(0).unsigned_abs());
            self.take_at = self.take_at.min(due.max(self.took_at + BETWEEN));
        }
        write(&mut db, self.watcher.worker, &mut self.answers).await?;
        orch_store::log::append(&mut db, &std::mem::take(&mut self.lines)).await?;
        while ended && due::wake_waiting(&mut db, WAKE).await? >= WAKE as u64 {}
        drop(db);
        if ended {
            self.hints.give(Hint::Ready);
            // Those behind a gate have to be let in again.
            self.hints.give(Hint::Due);
        }
        Ok(())
    }
}

/// Tells what was seen. An answer that the database refuses is found by halving and ends its wait; the others are written.
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

/// Refuses what no look of this worker could make sense of.
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
