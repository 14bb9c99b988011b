//! The default connections of a bundle. A child process of its binary returns them for an installation. They are never
//! stored in the database.

use super::{Beside, Facts, facts};
use orch_sdk::task::{Connection, DefaultConnections, Installation};
use orch_workers::program::take_secrets;
use std::io::{Read as _, Write as _};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// Internal subcommand that prints the default connections of a bundle.
pub const TELL_CONNECTIONS: &str = "tell-connections";
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum size of the request. It contains only a path and a URL.
const MOST_BYTES: u64 = 64 << 10;

/// The last response of the bundle, with the binary and the installation that it belongs to.
type CachedConnections = Option<(Facts, Installation, Vec<Connection>)>;

pub fn default_connections(beside: Beside) -> DefaultConnections {
    let (beside, kept) = (Arc::new(beside), Arc::new(Mutex::new(CachedConnections::None)));
    DefaultConnections::asked(move |here| {
        let (beside, kept) = (beside.clone(), kept.clone());
        Box::pin(async move {
            let Ok(now) = facts(&beside.path) else {
                let missing = format!("the bundle `{}` is not there", beside.path.display());
                return if beside.is_named { Err(missing) } else { Ok(Vec::new()) };
            };
            let known = |kept: &CachedConnections| match kept {
                Some((facts, of, known)) if (facts, of) == (&now, &here) => Some(known.clone()),
                _ => None,
            };
            if let Some(known) = known(&kept.lock().unwrap_or_else(PoisonError::into_inner)) {
                return Ok(known);
            }
            let asked = timeout(PATIENCE, ask(&beside, &here)).await;
            let found = asked.unwrap_or_else(|_| Err(format!("no answer after {} s", PATIENCE.as_secs())));
            let found = found.map_err(|problem| format!("the bundle `{}`: {problem}", beside.path.display()))?;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, here, found.clone()));
            Ok(found)
        })
    })
}

async fn ask(beside: &Beside, here: &Installation) -> Result<Vec<Connection>, String> {
    let mut command = Command::new(&beside.path);
    take_secrets(command.as_std_mut());
    command.arg(TELL_CONNECTIONS).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let question = serde_json::to_vec(here).map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&question).await.map_err(|error| error.to_string())?;
    }
    let ended = child.wait_with_output().await.map_err(|error| error.to_string())?;
    if !ended.status.success() {
        return Err(format!("`{TELL_CONNECTIONS}` ended with {}", ended.status));
    }
    serde_json::from_slice(&ended.stdout).map_err(|error| error.to_string())
}

/// Runs the internal subcommand in the bundle's binary: reads an installation from standard input and prints the
/// connections as JSON.
pub fn tell_connections(connections: &DefaultConnections) -> ExitCode {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).ok(); // the database URL may contain a password
    let told = || -> std::io::Result<()> {
        let mut question = Vec::new();
        std::io::stdin().take(MOST_BYTES).read_to_end(&mut question)?;
        let here: Installation = serde_json::from_slice(&question)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let found = runtime.block_on(connections.of(&here)).map_err(std::io::Error::other)?;
        std::io::stdout().write_all(&serde_json::to_vec(&found)?)
    };
    match told() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
