//! The watcher: polls the followed objects and keeps their last state. It sends each change to the queue of the object.

use super::feed::Feed;
use super::{At, Event, Lines, Watched};
use crate::bundle_state;
use crate::dashboards::mark_by_now;
use crate::pages::task::log::fragment;
use crate::state::App;
use axum::body::Bytes;
use futures::FutureExt as _;
use orch_spec::state::TaskState;
use orch_store::StoreResult;
use orch_store::hint::Hint;
use orch_store::live::{
    News, TryKey, TryLook, look_at_all, look_at_dags, look_at_runs, look_at_streams, look_at_tries, news,
};
use orch_store::log::{LogCursor, lines_upto};
use sqlx::PgConnection;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Sender;
use tokio::time::Instant;
use uuid::Uuid;

/// Poll interval, short enough to look immediate.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Poll interval if no followed object has changed for a while.
const LOOK_RARELY: Duration = Duration::from_secs(2);
const QUIET_AFTER: Duration = Duration::from_secs(30);
/// Minimum time between two polls, regardless of the number of hints.
const LOOK_AT_MOST: Duration = Duration::from_millis(60);
/// The list of runs is polled less often, because its query covers the whole installation.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(1);
const WITHOUT_DATABASE: Duration = Duration::from_secs(1);
/// Delay before a watcher that panicked restarts.
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// Maximum number of keys per statement.
const BATCH: usize = 500;
/// Maximum size of new log lines per poll. If there are more, only the last ones are sent.
pub(super) const NEWS_BYTES: i64 = 32 * 1024;
/// Interval at which running objects are reported without a detected change, because polls do not detect claims.
const TOLD_AGAIN: Duration = Duration::from_millis(1_500);
/// Workers ship the last log lines of an attempt within this time after its end.
const SHIPPED_WITHIN: Duration = Duration::from_millis(1_500);

#[derive(Debug, Clone, Copy)]
struct WatchedState {
    mark: i64,
    /// The end of the log.
    at: At,
    since: Instant,
}

type Queue = Sender<Event>;

struct Watcher {
    app: App,
    seen: HashMap<Watched, WatchedState>,
    changed_at: Instant,
    looked_at_all: Option<Instant>,
    /// Exists only while the feed is followed.
    feed: Option<Feed>,
}

/// Polls until no object is followed or the server stops.
pub(super) async fn watch(app: App) {
    let stopping = app.stopping.clone();
    let watching = restart_on_panic(|| {
        let (app, changed_at) = (app.clone(), Instant::now());
        let mut watcher = Watcher { app, seen: HashMap::new(), changed_at, looked_at_all: None, feed: None };
        async move { watcher.watch_followed().await }
    });
    tokio::select! {
        () = watching => {}
        () = stopping.cancelled() => {}
    }
}

/// Repeats the work until it returns without a panic. All live pages depend on this one watcher, and nothing else would
/// start another while a page is open.
async fn restart_on_panic<F: Future<Output = ()>>(work: impl Fn() -> F) {
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        tracing::error!("the watcher of live pages panicked and restarts");
        tokio::time::sleep(AFTER_PANIC).await;
    }
}

impl Watcher {
    async fn watch_followed(&mut self) {
        let hints = self.app.hints.clone();
        loop {
            // Registered before the poll, so that no hint is missed.
            let hinted = hints.on(Hint::Run).notified();
            let followed = self.app.live.followed();
            if followed.is_empty() {
                return;
            }
            let known = self.seen.len();
            self.seen.retain(|watched, _| followed.iter().any(|(other, _)| other == watched));
            let pause = match self.poll_followed(&followed).await {
                Ok(()) if known < self.seen.len() || self.changed_at.elapsed() < QUIET_AFTER => LOOK_EVERY,
                Ok(()) => LOOK_RARELY,
                Err(error) => {
                    tracing::debug!(%error, "live pages wait for the database");
                    WITHOUT_DATABASE
                }
            };
            drop(followed);
            tokio::time::sleep(LOOK_AT_MOST).await;
            tokio::select! {
                () = hinted => {}
                () = tokio::time::sleep(pause.saturating_sub(LOOK_AT_MOST)) => {}
            }
        }
    }

    async fn poll_followed(&mut self, followed: &[(Watched, Queue)]) -> StoreResult<()> {
        let (mut runs, mut tries): (Vec<Uuid>, Vec<(TryKey, &Queue)>) = (Vec::new(), Vec::new());
        let mut dags: Vec<Arc<str>> = Vec::new();
        let mut dashboards: Vec<(&Watched, &Arc<str>, &Queue)> = Vec::new();
        let (mut all, mut streams, mut feed) = (None, None, None);
        for (watched, queue) in followed {
            match watched {
                Watched::Run(run) => runs.push(*run),
                Watched::Dag(dag_id) => dags.push(Arc::clone(dag_id)),
                Watched::Try(key) => tries.push((*key, queue)),
                Watched::All => all = Some(queue),
                Watched::Streams => streams = Some(queue),
                Watched::Dashboard(name) => dashboards.push((watched, name, queue)),
                Watched::Feed => feed = Some(queue),
            }
        }
        let queues: HashMap<&Watched, &Queue> = followed.iter().map(|(watched, queue)| (watched, queue)).collect();
        for runs in runs.chunks(BATCH) {
            let looks = {
                let mut db = self.app.hot().await?;
                look_at_runs(&mut db, runs).await?
            };
            for run in runs {
                let watched = Watched::Run(*run);
                let Some(queue) = queues.get(&watched) else { continue };
                let look = looks.iter().find(|look| look.run == *run);
                let mark = look.map_or(0, |look| i64::from(look.rev));
                self.tell_mark(&watched, mark, queue);
                // A deleted run counts as finished.
                self.tell_over(&watched, look.is_none_or(|look| look.is_over), Duration::ZERO, queue);
            }
        }
        for dags in dags.chunks(BATCH) {
            let looks = {
                let mut db = self.app.hot().await?;
                look_at_dags(&mut db, dags).await?
            };
            for look in looks {
                let watched = Watched::Dag(look.dag_id.into());
                let Some(queue) = queues.get(&watched) else { continue };
                self.tell_mark(&watched, look.mark, queue);
                if look.is_running {
                    self.tell_again(&watched, queue);
                }
            }
        }
        for tries in tries.chunks(BATCH) {
            let keys: Vec<TryKey> = tries.iter().map(|(key, _)| *key).collect();
            let mut db = self.app.hot().await?;
            let looks = look_at_tries(&mut db, &keys).await?;
            for ((key, queue), look) in tries.iter().zip(looks) {
                self.look_at_try(&mut db, *key, &look, queue).await?;
            }
        }
        if let Some(queue) = all
            && self.looked_at_all.is_none_or(|at| at.elapsed() >= LOOK_AT_ALL_EVERY)
        {
            self.looked_at_all = Some(Instant::now());
            let mut db = self.app.pages().await?;
            let mark = mark_of_all(&self.app, &mut db).await?;
            self.tell_mark(&Watched::All, mark, queue);
        }
        if let Some(queue) = streams {
            let mark = look_at_streams(&mut *self.app.pages().await?).await?;
            self.tell_mark(&Watched::Streams, mark, queue);
        }
        for (watched, name, queue) in dashboards {
            if let Some(mark) = mark_by_now(&self.app, name) {
                self.tell_mark(watched, mark, queue);
            }
        }
        match feed {
            None => self.feed = None,
            Some(queue) => {
                let feed = self.feed.get_or_insert_default();
                let is_new = feed.is_new();
                let events = feed.poll_events(&self.app).await?;
                // Sending fails if no follower is left; those that reconnect find the batch in the log.
                if is_new {
                    queue.send(Event::Told(self.app.live.start_feed())).ok();
                } else if !events.is_empty() {
                    self.changed_at = Instant::now();
                    queue.send(Event::Told(self.app.live.add_to_feed(events))).ok();
                }
            }
        }
        Ok(())
    }

    async fn look_at_try(
        &mut self,
        db: &mut PgConnection,
        key: TryKey,
        look: &TryLook,
        queue: &Queue,
    ) -> StoreResult<()> {
        let watched = Watched::Try(key);
        let is_new = !self.seen.contains_key(&watched);
        self.tell_mark(&watched, mark_of(key, look), queue);
        let Some(seen) = self.seen.get_mut(&watched) else { return Ok(()) };
        if let (Some(attempt), Some(place)) = (key.attempt, look.end())
            && place > seen.at.place
        {
            let lines = if is_new {
                // Followers have their own positions; the first poll only determines the end of the log.
                let lines = lines_upto(db, key.run, attempt, place).await?;
                seen.at = At { place, lines };
                queue.send(Event::End(place)).ok();
                None
            } else {
                Some(read_news(db, key.run, attempt, seen.at).await?)
            };
            if let Some(Some(lines)) = lines {
                seen.at = lines.to;
                // Sending fails if the last follower has just disconnected.
                queue.send(Event::Lines(lines)).ok();
            }
            (seen.since, self.changed_at) = (Instant::now(), Instant::now());
        }
        let finished = look.state.as_deref().and_then(|state| state.parse().ok()).is_some_and(TaskState::is_finished);
        // When a new attempt starts, the log of the older one is complete.
        let is_over = look.run_is_over || finished || (key.attempt.is_some() && look.attempt != key.attempt);
        self.tell_over(&watched, is_over, SHIPPED_WITHIN, queue);
        Ok(())
    }

    fn tell_mark(&mut self, watched: &Watched, mark: i64, queue: &Queue) {
        let now = Instant::now();
        let at = At { place: LogCursor::START, lines: 0 };
        let seen = self.seen.entry(watched.clone()).or_insert(WatchedState { mark: !mark, at, since: now });
        if seen.mark != mark {
            (seen.mark, seen.since) = (mark, now);
            self.changed_at = now;
            queue.send(Event::Changed(mark)).ok();
        }
    }

    fn tell_again(&mut self, watched: &Watched, queue: &Queue) {
        let Some(seen) = self.seen.get_mut(watched).filter(|seen| seen.since.elapsed() >= TOLD_AGAIN) else { return };
        (seen.since, self.changed_at) = (Instant::now(), Instant::now());
        queue.send(Event::GoesOn).ok();
    }

    fn tell_over(&self, watched: &Watched, is_over: bool, quiet_for: Duration, queue: &Queue) {
        let Some(seen) = self.seen.get(watched) else { return };
        if is_over && seen.since.elapsed() >= quiet_for {
            // Sent at each poll, because a follower may have joined since the last one.
            queue.send(Event::Over).ok();
        }
    }
}

/// Returns a number that changes when runs change or the state of the bundle changes.
pub(crate) async fn mark_of_all(app: &App, db: &mut PgConnection) -> StoreResult<i64> {
    Ok(look_at_all(db).await? ^ bundle_state::mark_of(app.config.bundle.as_ref()))
}

/// Returns a number that changes when the state of the instance changes or another attempt starts. Unless this attempt
/// is running, it also changes with the revision of the run.
pub(crate) fn mark_of(key: TryKey, look: &TryLook) -> i64 {
    let state = look.state.as_deref().unwrap_or_default();
    let begun = key.attempt.is_some() && look.attempt == key.attempt && state == "running";
    let rev = if begun { 0 } else { i64::from(look.rev) };
    let attempt = look.attempt.unwrap_or_default().as_u128();
    let state = state.bytes().fold(17_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 65_521);
    let attempt = i64::try_from(attempt % 65_521).unwrap_or_default();
    (((attempt * 65_521 + state) << 8 | i64::from(look.lease_no.unwrap_or(0) & 0xff)) << 20) ^ rev
}

/// Returns the rendered lines after a position, or `None` if there are none.
pub(super) async fn read_news(db: &mut PgConnection, run: Uuid, attempt: Uuid, from: At) -> StoreResult<Option<Lines>> {
    let News { lines, chunks } = news(db, run, attempt, from.place, NEWS_BYTES).await?;
    let Some(last) = chunks.last() else { return Ok(None) };
    let to = At { place: last.place(), lines: from.lines + lines };
    Ok(Some(Lines { from, to, html: Bytes::from(fragment(&chunks, to.lines)) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_panics_restarts() {
        let calls = AtomicU32::new(0);
        restart_on_panic(|| async {
            tokio::task::yield_now().await;
            assert!(calls.fetch_add(1, Ordering::SeqCst) >= 2, "a panic of the first two");
        })
        .await;
        assert_eq!(calls.into_inner(), 3);
    }
}
