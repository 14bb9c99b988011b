//! Determines which connection caused an abort of librdkafka.
//!
//! librdkafka aborts the process if the response of a broker violates one of its assertions. The SIGABRT handler runs
//! on the thread that failed and may only make async-signal-safe calls. The thread therefore stores the number of its
//! connection as its timer slack (`PR_SET_TIMERSLACK`), which child threads inherit from the kernel. Clients are
//! created, and their blocking calls are made, with the timer slack of their connection. The nanoseconds that this adds
//! to a timer are negligible.
//!
//! Aborts are attributed on Linux only, because other systems have no timer slack.

#![expect(unsafe_code, reason = "a signal handler has no safe form")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Timer slack in nanoseconds of a thread without a connection: the kernel's default.
const NO_CONNECTION: u64 = 50_000;
/// Maximum number of connections to which aborts can be attributed. A process usually has a few.
const MAX_CONNECTIONS: usize = 4_096;
/// Time that the listener has to record an abort before the process ends.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// Ids of all connections for which clients were created. A connection's number is its index in this list plus 1.
static CONNECTIONS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// The signal handler's end of the socket to the listener.
static REPORTS: OnceLock<UnixStream> = OnceLock::new();

/// Number that identifies a connection. 0 if the process has too many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u16);

impl Mark {
    pub(super) fn of(connection: &str) -> Mark {
        let mut known = CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let index = known.iter().position(|id| id == connection).unwrap_or(known.len());
        if index == known.len() {
            if index == MAX_CONNECTIONS {
                return Mark(0);
            }
            known.push(connection.into());
        }
        Mark(u16::try_from(index + 1).unwrap_or(0))
    }

    /// Makes a call of librdkafka. An abort of this thread, or of a thread that the call creates, is attributed to the
    /// connection.
    pub(super) fn call<T>(self, call: impl FnOnce() -> T) -> T {
        let before = slack();
        set_slack(NO_CONNECTION + u64::from(self.0));
        let _restored = RestoredSlack(before);
        call()
    }

    /// Returns the connection number of the calling thread, or `None` if the thread serves no connection.
    fn of_this_thread() -> Option<Mark> {
        let number = u16::try_from(slack()?.checked_sub(NO_CONNECTION)?).ok()?;
        (1..=MAX_CONNECTIONS).contains(&usize::from(number)).then_some(Mark(number))
    }

    fn connection(self) -> Option<String> {
        let known = CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(usize::from(self.0).checked_sub(1)?).cloned()
    }
}

/// Restores the previous timer slack of the thread on drop, even during a panic.
struct RestoredSlack(Option<u64>);

impl Drop for RestoredSlack {
    fn drop(&mut self) {
        self.0.into_iter().for_each(set_slack);
    }
}

#[cfg(target_os = "linux")]
fn slack() -> Option<u64> {
    nix::sys::prctl::get_timerslack().ok()?.try_into().ok()
}

#[cfg(target_os = "linux")]
fn set_slack(nanoseconds: u64) {
    nix::sys::prctl::set_timerslack(nanoseconds).ok(); // a failure leaves aborts without a connection
}

#[cfg(not(target_os = "linux"))]
fn slack() -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn set_slack(_: u64) {}

/// Receives the connection that caused an abort. The process ends when the listener is dropped.
pub(crate) struct AbortListener(tokio::net::UnixStream);

impl AbortListener {
    /// Installs the signal handler. A process has one listener: later calls return `None`.
    pub(crate) fn install() -> io::Result<Option<AbortListener>> {
        let (reports, listener) = UnixStream::pair()?;
        reports.set_read_timeout(Some(RECORD_TIMEOUT))?;
        listener.set_nonblocking(true)?;
        if REPORTS.set(reports).is_err() {
            return Ok(None);
        }
        let action = SigAction::new(SigHandler::Handler(report_abort), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler only makes async-signal-safe calls, and the replaced handler is never called.
        unsafe { sigaction(Signal::SIGABRT, &action) }?;
        Ok(Some(AbortListener(tokio::net::UnixStream::from_std(listener)?)))
    }

    /// Waits for an abort and returns the id of its connection. Waits forever if the process does not abort.
    pub(crate) async fn next(&mut self) -> String {
        match self.0.read_u16_le().await.map(|number| Mark(number).connection()) {
            Ok(Some(connection)) => connection,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// Reports the connection of the aborting thread and waits until the listener is dropped. Other threads continue.
extern "C" fn report_abort(_: i32) {
    if let (Some(mut reports), Some(mark)) = (REPORTS.get(), Mark::of_this_thread())
        && reports.write_all(&mark.0.to_le_bytes()).is_ok()
    {
        reports.read_exact(&mut [0]).ok(); // fails at the end of the file, or after the timeout
    }
    // Reset the handler only now: two clients of a connection often abort at the same time, and the default action of
    // the second abort would end the process before the first one is recorded.
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: `sigaction` is async-signal-safe.
    unsafe { sigaction(Signal::SIGABRT, &default) }.ok();
    raise(Signal::SIGABRT).ok(); // delivered when this handler returns
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_that_a_call_creates_have_the_connection_of_the_call() {
        let found = || Mark::of_this_thread().and_then(Mark::connection);
        let in_thread = |mark: Mark| mark.call(|| std::thread::spawn(move || std::thread::spawn(found).join()).join());
        let (events, orders) = (Mark::of("abort_events"), Mark::of("abort_orders"));
        assert_eq!(in_thread(events).unwrap().unwrap().as_deref(), Some("abort_events"));
        assert_eq!(in_thread(orders).unwrap().unwrap().as_deref(), Some("abort_orders"));
        assert_eq!(Mark::of("abort_events"), events, "a connection has one number");
        assert_eq!(found(), None, "the slack is restored");
    }
}
