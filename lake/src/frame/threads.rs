//! Threads for long computations: at most one per core, so that computing tasks block neither the runtime nor each
//! other.

use orch_sdk::task::TaskResult;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// Large stacks are cheap because memory is only committed when it is used.
const STACK_BYTES: usize = 256 << 20;

/// Polars has a thread pool of the same size for the parts of a computation.
static SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Arc::new(Semaphore::new(cores))
});

/// Cancellation flag of a computation.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    stopped: Arc<AtomicBool>,
}

impl Stop {
    /// Checks the flag; to be called between the steps of a long computation.
    ///
    /// # Errors
    /// The result is no longer needed, because the task was cancelled or timed out.
    pub fn check(&self) -> TaskResult<()> {
        anyhow::ensure!(!self.stopped.load(Ordering::Relaxed), "cancelled: its result is no longer needed");
        Ok(())
    }
}

/// Runs a computation of polars on a new thread and waits for it. Polars calls `tokio::task::block_in_place`, which
/// panics on a thread that drives a current-thread runtime, as in the child processes of workers. The thread has a
/// stack for the deepest expression that `expression` allows.
///
/// # Panics
/// Panics if the computation does, or if no thread can be started.
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

/// Runs a computation on a blocking thread; at most one per core runs at a time. Dropping the future stops the
/// computation at its next `stop.check()?`; the slot is released when it returns.
///
/// # Errors
/// Returns the error of the computation.
///
/// # Panics
/// Panics if the computation does.
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
