//! Updates of live pages. One watcher polls for all followers with a few indexed queries: every half second, sooner
//! after a hint, less often if nothing changes, and not at all without followers.
//!
//! The followers of a watched object share a short queue. A follower that lags too far behind loses events and is told
//! to reload, so slow followers cost no memory and do not delay others.

mod feed;
mod feed_log;
mod stream;
mod watch;

pub(crate) use feed::FeedEvent;
pub(crate) use feed_log::{FeedBatch, FeedPosition};
pub(crate) use stream::answer;
pub(crate) use watch::{mark_of, mark_of_all};

use crate::refusal::Refusal;
use crate::state::App;
use axum::body::Bytes;
use axum::http::StatusCode;
use feed_log::FeedLog;
use orch_store::live::TryKey;
use orch_store::log::LogCursor;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// Maximum number of events that a follower may lag behind. Each has at most tens of kilobytes and is stored once for
/// all followers.
const QUEUE: usize = 8;
/// Maximum number of followers. More are rejected, because they would take the connections that pages need.
const MOST_FOLLOWERS: usize = 2_000;
/// Maximum number of followers per user: a few tabs on a few machines, and programs that wait for runs.
const MOST_OF_A_USER: usize = 50;

/// Time for which the feed continues after its last follower has disconnected, so that a follower that reconnects
/// misses nothing.
const FEED_CONTINUES_FOR: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    Run(Uuid),
    /// The runs of a DAG and their tasks, for its grid and its graph.
    Dag(Arc<str>),
    /// An attempt and its log.
    Try(TryKey),
    /// The list of runs and the state of the DAGs.
    All,
    /// The progress of streams.
    Streams,
    /// The contents of a dashboard, by its name.
    Dashboard(Arc<str>),
    /// State changes of all runs and task instances.
    Feed,
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The displayed data changed. The number is its revision.
    Changed(i64),
    Lines(Lines),
    /// The current end of the log, sent at the first poll of the watcher. Followers that joined before it may have
    /// missed lines.
    End(LogCursor),
    /// Something is running: durations grow, and an attempt may have started.
    GoesOn,
    Over,
    /// The changes since the last poll. The first batch of a feed is empty.
    Told(FeedBatch),
}

/// New lines of a log, rendered once for all followers.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) from: At,
    pub(crate) to: At,
    pub(crate) html: Bytes,
}

/// A position in a log, and the number of lines before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) place: LogCursor,
    pub(crate) lines: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Live {
    things: Mutex<WatchedQueues>,
    /// Lock order: after `things`.
    feed_log: Mutex<FeedLog>,
    followers: Followers,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct WatchedQueues {
    queues: HashMap<Watched, broadcast::Sender<Event>>,
    is_watched: bool,
    /// Time at which the watcher last found a follower of the feed.
    feed_followed_at: Option<Instant>,
}

/// Number of followers per user.
type Followers = Arc<Mutex<HashMap<Arc<str>, usize>>>;

/// Counts a follower until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    followers: Followers,
    user: Arc<str>,
}

impl Counted {
    fn new(followers: &Followers, user: &Arc<str>) -> Result<Counted, Refusal> {
        let mut counts = followers.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (counts.values().sum::<usize>(), counts.get(user).copied().unwrap_or(0));
        if own >= MOST_OF_A_USER {
            let text = format!("your account has {MOST_OF_A_USER} open pages and waits already: close some");
            return Err(Refusal::Later { status: StatusCode::TOO_MANY_REQUESTS, text });
        }
        if all >= MOST_FOLLOWERS {
            let text = "too many pages are followed at the moment".into();
            return Err(Refusal::Later { status: StatusCode::SERVICE_UNAVAILABLE, text });
        }
        counts.insert(user.clone(), own + 1);
        Ok(Counted { followers: followers.clone(), user: user.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

impl Live {
    pub(crate) fn followers(&self) -> usize {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Counts a follower of this user until the returned value is dropped: a response that stays open, or a request
    /// that waits.
    pub(crate) fn count(&self, user: &Arc<str>) -> Result<Counted, Refusal> {
        Counted::new(&self.followers, user)
    }

    /// Counts a request that waits up to `seconds`. Returns `None` if it does not wait.
    pub(crate) fn count_wait(&self, user: &Arc<str>, seconds: f64) -> Result<Option<Counted>, Refusal> {
        if seconds > 0.0 { self.count(user).map(Some) } else { Ok(None) }
    }

    /// Subscribes to the events of an object.
    pub(crate) fn follow(
        &self,
        app: &App,
        user: &Arc<str>,
        watched: Watched,
    ) -> Result<(broadcast::Receiver<Event>, Counted), Refusal> {
        let counted = self.count(user)?;
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = things.queues.entry(watched).or_insert_with(|| broadcast::Sender::new(QUEUE));
        let receiver = queue.subscribe();
        if !things.is_watched {
            things.is_watched = true;
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(watch::watch(app.clone()));
        }
        Ok((receiver, counted))
    }

    /// Returns the current position of the feed, or `None` if the feed has not started yet.
    pub(crate) fn feed_position(&self) -> Option<FeedPosition> {
        self.feed_log.lock().unwrap_or_else(PoisonError::into_inner).position()
    }

    /// Returns the current position of the feed and the changes from `last` to it. Returns `None` if some of these
    /// changes are no longer kept, or `last` is from another server. A caller that subscribes before this call misses
    /// nothing.
    pub(crate) fn feed_after(&self, last: FeedPosition) -> Option<(FeedPosition, Vec<FeedBatch>)> {
        self.feed_log.lock().unwrap_or_else(PoisonError::into_inner).after(last)
    }

    fn start_feed(&self) -> FeedBatch {
        self.feed_log.lock().unwrap_or_else(PoisonError::into_inner).start()
    }

    fn add_to_feed(&self, events: Vec<FeedEvent>) -> FeedBatch {
        self.feed_log.lock().unwrap_or_else(PoisonError::into_inner).add(events)
    }

    /// Returns the followed objects. The feed remains in the list for some time after its last follower. If the list is
    /// empty, the watcher ends, and the next follower starts another.
    fn followed(&self) -> Vec<(Watched, broadcast::Sender<Event>)> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let WatchedQueues { queues, is_watched, feed_followed_at } = &mut *things;
        queues.retain(|watched, queue| {
            let is_followed = queue.receiver_count() > 0;
            if *watched != Watched::Feed {
                return is_followed;
            }
            if is_followed {
                *feed_followed_at = Some(Instant::now());
            }
            feed_followed_at.is_some_and(|at| at.elapsed() < FEED_CONTINUES_FOR)
        });
        if !queues.contains_key(&Watched::Feed) {
            self.feed_log.lock().unwrap_or_else(PoisonError::into_inner).stop();
        }
        *is_watched = !queues.is_empty();
        queues.iter().map(|(watched, queue)| (watched.clone(), queue.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_feed_continues_for_a_minute_without_followers() {
        let live = Live::default();
        let receiver = {
            let mut things = live.things.lock().unwrap();
            things.queues.entry(Watched::Feed).or_insert_with(|| broadcast::Sender::new(QUEUE)).subscribe()
        };
        let position = live.start_feed().position;
        assert_eq!(live.followed().len(), 1);
        drop(receiver);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(live.followed().len(), 1);
        assert!(live.feed_after(position).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(live.followed().is_empty());
        assert!(live.feed_after(position).is_none());
    }
}
