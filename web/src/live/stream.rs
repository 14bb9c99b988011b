//! The event stream of a follower: a response of server-sent events that ends when the followed object finishes, the
//! session ends or the server stops. The browser then reconnects with `Last-Event-ID`, so the page continues without a
//! reload.

use super::watch::read_news;
use super::{At, Counted, Event, Lines, Watched};
use crate::auth::Role;
use crate::pages::task::log::drawn_in_zone;
use crate::pages::zone;
use crate::refusal::Refusal;
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use chrono_tz::Tz;
use futures::stream::unfold;
use orch_store::log::LogCursor;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

/// Delay before the browser reconnects.
const RETRY: &str = "retry: 2000\n\n";
/// Interval of session checks: a user who logged out receives no events after this time.
const CHECK_EVERY: Duration = Duration::from_millis(900);
/// Interval of keep-alive events, because proxies close idle connections. A page that receives no event for three times
/// this long shows that it is disconnected (`web/assets/app.js`).
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const ALIVE: &str = "event: alive\ndata: \n\n";
/// Minimum time between two change events, because a page reloads itself after each. With more followers it grows, so
/// that all of them together receive at most one hundred per second.
const PACE: Duration = Duration::from_millis(700);
const PACE_OF_EACH: Duration = Duration::from_millis(10);
/// Interval at which the durations of running objects are refreshed without a change.
const TIMES_GO_ON: Duration = Duration::from_secs(2);

pub(crate) struct Follower {
    app: App,
    headers: HeaderMap,
    watched: Watched,
    /// Time zone of the reader.
    zone: Tz,
    events: Receiver<Event>,
    _counted: Counted,
    /// The revision that the page shows, and in `at` the end of its log.
    mark: i64,
    at: Option<At>,
    step: FollowerPhase,
    owes: bool,
    told: Instant,
    spoke: Instant,
    checked: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FollowerPhase {
    First,
    CatchUp,
    Follow,
    Over,
}

/// Returns the event stream of an object. `mark` is its current revision; `shown` and `at` are what the page shows.
pub(crate) fn answer(
    app: App,
    (user, headers): (&Arc<str>, HeaderMap),
    watched: Watched,
    mark: i64,
    (shown, at): (Option<i64>, Option<At>),
) -> Result<Response, Refusal> {
    let (events, counted) = app.live.follow(&app, user, watched.clone())?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let now = Instant::now();
    let shown = last.parse().ok().or(shown).unwrap_or(mark);
    let follower = Follower {
        events,
        _counted: counted,
        mark,
        at: At::parse(last).or(at),
        zone: zone::wish(&headers).map_or(Tz::UTC, |wish| wish.zone),
        app,
        headers,
        watched,
        step: FollowerPhase::First,
        owes: shown != mark,
        told: now.checked_sub(PACE).unwrap_or(now),
        spoke: now,
        checked: now,
    };
    let events = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Prevents proxies from buffering the response.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Follower {
    /// Returns the next event, or `None` when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        let event = self.wait().await;
        self.spoke = Instant::now();
        event
    }

    async fn wait(&mut self) -> Option<Bytes> {
        match self.step {
            FollowerPhase::First => {
                self.step = FollowerPhase::CatchUp;
                return Some(Bytes::from_static(RETRY.as_bytes()));
            }
            FollowerPhase::CatchUp => {
                self.step = FollowerPhase::Follow;
                if let Some(lines) = self.catch_up().await {
                    return Some(lines);
                }
            }
            FollowerPhase::Follow => {}
            FollowerPhase::Over => return None,
        }
        let stopping = self.app.stopping.clone();
        loop {
            let now = Instant::now();
            if now >= self.checked + CHECK_EVERY {
                self.checked = now;
                if !self.app.may_still(&self.headers, Role::Viewer).await {
                    return None;
                }
            }
            if self.owes && now >= self.told + self.pace() {
                return Some(self.changed());
            }
            if matches!(self.watched, Watched::Run(_)) && now >= self.told + self.pace().max(TIMES_GO_ON) {
                return Some(self.changed());
            }
            if now >= self.spoke + ALIVE_EVERY {
                return Some(Bytes::from_static(ALIVE.as_bytes()));
            }
            let mut until = self.checked + CHECK_EVERY;
            if self.owes {
                until = until.min(self.told + self.pace());
            }
            tokio::select! {
                // Cancel-safe: an event that was not taken stays in the queue.
                event = self.events.recv() => match event {
                    Ok(Event::Changed(mark)) => {
                        self.owes |= std::mem::replace(&mut self.mark, mark) != mark;
                    }
                    Ok(Event::GoesOn) => self.owes = true,
                    Ok(Event::Lines(lines)) => {
                        if let Some(event) = self.lines(&lines).await {
                            return Some(event);
                        }
                    }
                    Ok(Event::End(place)) => {
                        if self.at.is_some_and(|at| at.place < place)
                            && let Some(lines) = self.catch_up().await
                        {
                            return Some(lines);
                        }
                    }
                    Ok(Event::Told(_)) => {}
                    Ok(Event::Over) => {
                        self.step = FollowerPhase::Over;
                        return Some(Bytes::from_static(b"event: over\ndata: \n\n"));
                    }
                    // The follower lagged behind: what it missed is read again, immediately and only once.
                    Err(RecvError::Lagged(_)) => {
                        self.owes = true;
                        if let Some(lines) = self.catch_up().await {
                            return Some(lines);
                        }
                    }
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(until) => {}
                () = stopping.cancelled() => return None,
            }
        }
    }

    fn pace(&self) -> Duration {
        PACE.max(PACE_OF_EACH * u32::try_from(self.app.live.followers()).unwrap_or(u32::MAX))
    }

    fn changed(&mut self) -> Bytes {
        (self.owes, self.told) = (false, Instant::now());
        let mark = self.mark;
        // Log events use their log position as the id, which is sent with the lines.
        match self.watched {
            Watched::Try(_) => format!("event: changed\ndata: {mark}\n\n"),
            _ => format!("id: {mark}\nevent: changed\ndata: {mark}\n\n"),
        }
        .into()
    }

    /// Returns the lines that were sent to other followers before this one subscribed.
    async fn catch_up(&mut self) -> Option<Bytes> {
        let Watched::Try(key) = self.watched else { return None };
        let (attempt, at) = (key.attempt?, self.at?);
        let found = async {
            let mut db = self.app.hot().await?;
            read_news(&mut db, key.run, attempt, at).await
        };
        match found.await {
            Ok(lines) => lines.map(|lines| self.say(&lines)),
            Err(error) => {
                tracing::debug!(%error, "lines will come with the next ones");
                None
            }
        }
    }

    async fn lines(&mut self, lines: &Lines) -> Option<Bytes> {
        // The page does not show the end of the log, so it receives no lines.
        let at = self.at?;
        if lines.to.place <= at.place {
            return None;
        }
        if lines.from.place == at.place {
            return Some(self.say(lines));
        }
        self.catch_up().await
    }

    fn say(&mut self, lines: &Lines) -> Bytes {
        self.at = Some(lines.to);
        let mut event = format!("id: {}\nevent: lines\n", lines.to.text());
        let html = String::from_utf8_lossy(&lines.html);
        for line in drawn_in_zone(&html, self.zone).split('\n') {
            event.push_str("data: ");
            event.push_str(line);
            event.push('\n');
        }
        event.push('\n');
        event.into()
    }
}

impl At {
    /// Returns the position as text for URLs and event ids.
    pub(crate) fn text(self) -> String {
        let mut text = String::new();
        write!(text, "{}.{}.{}", self.place.lease_no, self.place.seq, self.lines).expect("a string takes all");
        text
    }

    pub(crate) fn parse(text: &str) -> Option<At> {
        let mut parts = text.split('.');
        let place = LogCursor { lease_no: parts.next()?.parse().ok()?, seq: parts.next()?.parse().ok()? };
        let at = At { place, lines: parts.next()?.parse().ok().filter(|lines| *lines >= 0)? };
        parts.next().is_none().then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let at = At { place: LogCursor { lease_no: 2, seq: 17 }, lines: 240 };
        assert_eq!((at.text().as_str(), At::parse("2.17.240")), ("2.17.240", Some(at)));
        for wrong in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.-3"] {
            assert_eq!(At::parse(wrong), None, "{wrong}");
        }
    }
}
