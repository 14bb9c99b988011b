//! Waiting. The driver receives no events from orch, so it polls like any client. Ctrl-C ends every wait, so that the
//! installation is stopped and its folder removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Longer waits are split into pieces of this length, to notice Ctrl-C.
const PIECE: Duration = Duration::from_millis(100);

/// Records Ctrl-C and SIGTERM from now on instead of ending this process.
pub fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminated = signal(SignalKind::terminate())?;
            tokio::select! { pressed = tokio::signal::ctrl_c() => pressed?, _ = terminated.recv() => {} }
            INTERRUPTED.store(true, Ordering::Relaxed);
            std::io::Result::Ok(())
        })
    })?;
    Ok(())
}

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Waits, or fails when interrupted.
pub fn pause(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        if interrupted() {
            bail!("interrupted");
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        #[expect(clippy::disallowed_methods, reason = "a client of another process has nothing else to wait for")]
        std::thread::sleep(left.min(PIECE));
    }
}

/// Polls every `interval` until `ask` returns a value.
pub fn until<T>(
    what: &str,
    interval: Duration,
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > patience {
            bail!("{what}: not within {} s", patience.as_secs());
        }
        pause(interval).with_context(|| what.to_owned())?;
    }
}
