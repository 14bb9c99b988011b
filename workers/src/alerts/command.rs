//! Sends alerts to a program on the scheduler's machine. The connection selects one of the programs that the settings
//! allow (`programs.rs`). The program receives the alert as JSON on standard input. It gets no arguments, so that users
//! who can edit connections cannot choose them.

use super::Programs;
use crate::program;
use orch_core::alert::Message;
use orch_sdk::task::Connection;
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

const MOST_WORDS: usize = 200;
/// Maximum number of bytes that are kept of a program's standard error. The rest is discarded.
const MOST_STDERR: u64 = 4 * 1024;

pub(super) async fn run_alert_program(
    programs: &Programs,
    connection: &Connection,
    message: &Message,
) -> Result<(), String> {
    let name = connection.host.as_deref().unwrap_or_default();
    let program = programs.get(name).ok_or_else(|| {
        let id = &connection.id;
        format!(
            "connection `{id}` names the program `{}`, which the settings do not allow\nhint: its host is the name of a \
             program in `alert_programs` of the scheduler: `ORCH_ALERT_PROGRAMS=pager=/usr/local/bin/page`",
            name.chars().take(MOST_WORDS).collect::<String>()
        )
    })?;
    let mut command = Command::new(program);
    program::clean(command.as_std_mut());
    command.env("ALERT_KEY", &message.key).env("ALERT_KIND", message.kind.as_str());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("program `{name}` cannot be started: {error}"))?;
    let mut body = message.fields.clone();
    (body["subject"], body["text"]) = (json!(message.subject), json!(message.text));
    let (input, errors) = (child.stdin.take(), child.stderr.take());
    let tell = async {
        if let Some(mut input) = input {
            // A program may exit or close its input before it has read everything.
            input.write_all(body.to_string().as_bytes()).await.ok();
        }
    };
    let ((), words) = tokio::join!(tell, beginning(errors));
    let ended = child.wait().await.map_err(|error| format!("program `{name}`: {error}"))?;
    if ended.success() {
        return Ok(());
    }
    let words: String = words.trim().chars().take(MOST_WORDS).collect();
    Err(format!("program `{name}` ended with {ended}: {words}"))
}

async fn beginning(errors: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut errors) = errors else { return String::new() };
    let mut words = Vec::new();
    (&mut errors).take(MOST_STDERR).read_to_end(&mut words).await.ok();
    tokio::io::copy(&mut errors, &mut tokio::io::sink()).await.ok();
    String::from_utf8_lossy(&words).into_owned()
}
