//! Streams bodies between a client and a server of the bundle. A body is never buffered as a whole: each piece is
//! counted, passed on, and freed once it is written.

use axum::body::{Body, Bytes};
use futures::stream::unfold;
use http_body_util::BodyExt as _;
use orch_store::bounded::{ByteBudget, Reserved};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum size of one piece of a response.
pub(super) const MAX_FRAME_BYTES: usize = 64 << 10;
/// Budget for the pieces of all bodies that are read but not yet written.
const MAX_BYTES_IN_FLIGHT: usize = 256 << 20;
static BYTES_IN_FLIGHT: ByteBudget = ByteBudget::new(MAX_BYTES_IN_FLIGHT);
/// Timeout for the next piece of a body and for reserving its part of the budget.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a body ended early.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Failure {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body did not arrive in time")]
    Idle,
    #[error("too many bodies are on their way")]
    Busy,
    #[error("the body broke off")]
    Broken,
}

/// Handle of the request handler to the body of a message.
pub(super) struct Upload {
    pub(super) max_bytes: u64,
    state: Arc<UploadState>,
}

#[derive(Default)]
struct UploadState {
    failure: OnceLock<Failure>,
    is_ended: AtomicBool,
}

/// Counts the bytes of a body and shares its state with the [`Upload`].
pub(super) struct Meter {
    left: u64,
    state: Arc<UploadState>,
}

impl Upload {
    pub(super) fn new(max_bytes: u64) -> Upload {
        Upload { max_bytes, state: Arc::default() }
    }

    pub(super) fn meter(&self) -> Meter {
        Meter { left: self.max_bytes, state: self.state.clone() }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.state.failure.get().copied()
    }

    /// Stops reading the body.
    pub(super) fn end(&self) {
        self.state.is_ended.store(true, Ordering::Release);
    }
}

/// Returns the body with its limits applied. `held` is dropped together with the body.
pub(super) fn metered<T: Send + 'static>(body: Body, meter: Meter, held: T) -> Body {
    Body::from_stream(unfold((body, meter, held), |(mut body, mut meter, held)| async move {
        let piece = meter.next(&mut body).await?;
        Some((piece.inspect_err(|failure| _ = meter.state.failure.set(*failure)), (body, meter, held)))
    }))
}

impl Meter {
    async fn next(&mut self, body: &mut Body) -> Option<Result<Bytes, Failure>> {
        if self.state.is_ended.load(Ordering::Acquire) {
            // An error would abort the response. The body is dropped when the response has been read.
            std::future::pending::<()>().await;
        }
        let bytes = match timeout(IDLE_TIMEOUT, data(body)).await {
            Ok(None) => return None,
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(_))) => return Some(Err(Failure::Broken)),
            Err(_) => return Some(Err(Failure::Idle)),
        };
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else { return Some(Err(Failure::TooLarge)) };
        self.left = left;
        let Ok(reserved) = timeout(IDLE_TIMEOUT, BYTES_IN_FLIGHT.reserve(bytes.len())).await else {
            return Some(Err(Failure::Busy));
        };
        Some(Ok(Bytes::from_owner(InFlight { bytes, _reserved: reserved })))
    }
}

async fn data(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        match body.frame().await? {
            Ok(frame) => {
                if let Ok(bytes) = frame.into_data() {
                    return Some(Ok(bytes));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// A piece with its part of the budget, which is released when the last reference to the piece is dropped.
struct InFlight {
    bytes: Bytes,
    _reserved: Reserved<'static>,
}

impl AsRef<[u8]> for InFlight {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::read_body;
    use futures::stream::{iter, pending};

    fn body_of(pieces: usize) -> Body {
        Body::from_stream(iter((0..pieces).map(|_| Ok::<_, Failure>(Bytes::from(vec![b'x'; 1 << 16])))))
    }

    /// All cases are in one test, because the budget is shared by the process.
    #[tokio::test(start_paused = true)]
    async fn a_body_takes_its_part_of_the_budget_and_ends_when_it_is_too_large_or_idle() {
        let upload = Upload::new(3 << 16);
        let (mut meter, mut body) = (upload.meter(), body_of(4));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(meter.next(&mut body).await.unwrap().unwrap());
        }
        assert_eq!(BYTES_IN_FLIGHT.used(), 3 << 16);
        drop(held);
        assert_eq!(BYTES_IN_FLIGHT.used(), 0);
        assert!(matches!(meter.next(&mut body).await, Some(Err(Failure::TooLarge))));
        let all = BYTES_IN_FLIGHT.reserve(MAX_BYTES_IN_FLIGHT).await;
        let next = Upload::new(1 << 20).meter().next(&mut body_of(1)).await;
        assert!(matches!(next, Some(Err(Failure::Busy))), "the budget is spent");
        drop(all);

        let upload = Upload::new(1 << 20);
        let idle = Body::from_stream(pending::<Result<Bytes, Failure>>());
        assert!(read_body(metered(idle, upload.meter(), ()), 1 << 20).await.is_err());
        assert!(matches!(upload.failure(), Some(Failure::Idle)));
        let whole = read_body(metered(body_of(2), Upload::new(1 << 20).meter(), ()), 1 << 20).await.unwrap();
        assert_eq!(whole.len(), 2 << 16);
    }
}
