//! Threads for long computations. At most one per CPU core runs at a time, so that they block neither the async
//! runtime nor each other.

use orch_sdk::task::TaskResult;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// Stack size of the threads. It can be large because memory is only committed when it is used.
const STACK_BYTES: usize = 256 << 20;

/// Limits the number of concurrent computations to the number of CPU cores. Polars has a thread pool of the same
/// size, among which it divides each computation.
static SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Arc::new(Semaphore::new(cores))
});

/// Cancellation flag of a computation, to be polled between its steps.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    stopped: Arc<AtomicBool>,
}

impl Stop {
    /// Checks the flag. Call it between the steps of a long computation.
    ///
    /// # Errors
    /// Returns an error if the task was cancelled or timed out, so that the result is no longer needed.
    pub fn check(&self) -> TaskResult<()> {
        anyhow::ensure!(!self.stopped.load(Ordering::Relaxed), "cancelled: its result is no longer needed");
        Ok(())
    }
}

/// Runs a polars computation on a new thread and waits for it. A new thread is needed because polars calls
/// `tokio::task::block_in_place`, which panics on a thread that drives a current-thread runtime, such as in child
/// processes of workers. Its stack is large enough for the deepest expression that `expression` accepts.
///
/// # Panics
/// Panics if the computation panics or no thread can be started.
pub(crate) fn off_runtime<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.expect("a thread can be started").join()
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

/// Runs a computation on a blocking thread. At most one computation per CPU core runs at a time. If the future is
/// dropped, the computation stops at its next `stop.check()?`; it occupies its slot until it returns.
///
/// # Errors
/// Returns the error of the computation.
///
/// # Panics
/// Panics if the computation panics.
pub async fn blocking<T, F>(work: F) -> TaskResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Stop) -> TaskResult<T> + Send + 'static,
{
    let slot = SLOTS.clone().acquire_owned().await.expect("the slots are never closed");
    let stop = Stop::default();
    let _stopped = StopOnDrop(stop.clone());
    let done = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        work(&stop)
    });
    match done.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(error.into()),
        },
    }
}
