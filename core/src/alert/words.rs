//! Builds the message of an alert: the default text, or a template with the names of fields in braces. Templates
//! contain no code.

use super::{AlertKind, AlertQuestion, Facts, FailedTasks, StoppedStream, path};
use chrono::{DateTime, Utc};
use orch_spec::Notifier;
use orch_spec::template::filled;
use serde_json::{Value, json};

/// Maximum length of a message in characters. Longer messages are truncated, because chats and mail servers have limits
/// too.
const MOST_CHARS: usize = 10_000;
const MOST_SUBJECT_CHARS: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Idempotency key, by which a receiver can recognize a message that it gets twice.
    pub key: String,
    pub kind: AlertKind,
    /// Subject of the message, on a single line.
    pub subject: String,
    pub text: String,
    /// Message for the field `text` of Slack and compatible chats. `&`, `<` and `>` in values are escaped, so that no
    /// value can mention a channel.
    pub slack_text: String,
    /// All fields of the alert, for machine-readable payloads.
    pub fields: Value,
}

/// Builds the message of an alert for its notifier.
pub fn message(
    (key, kind): (&str, AlertKind),
    notifier: &Notifier,
    facts: &Facts,
    (run_id, logical_date): (Option<&str>, Option<DateTime<Utc>>),
    at: DateTime<Utc>,
) -> Message {
    let date = logical_date.map(orch_spec::schedule::isoformat);
    let link = format!("{}{}", facts.address.trim_end_matches('/'), path(kind, facts, run_id));
    let facts = &facts.with_first_failure();
    let asked = facts.asked.as_ref();
    let deadline = asked.and_then(|asked| asked.until).map(orch_spec::schedule::isoformat);
    let stream = facts.stream.as_ref();
    let field = |name: &str| -> Option<String> {
        let text = |of: Option<&str>| Some(of.unwrap_or_default().to_string());
        match name {
            "kind" => Some(kind.to_string()),
            "dag_id" => Some(facts.dag_id.clone()),
            "run_id" => text(run_id),
            "task_id" => text(facts.task_id.as_deref()),
            "map_index" => Some(match (&facts.elements, facts.map_index) {
                (Some(elements), _) => elements.named(),
                (None, Some(index)) => index.to_string(),
                (None, None) => String::new(),
            }),
            "count" => Some(facts.count().to_string()),
            "failed_tasks" => Some(facts.failed.as_ref().map(|failed| failed.count.to_string()).unwrap_or_default()),
            "try_number" => Some(facts.try_number.map(|number| number.to_string()).unwrap_or_default()),
            "state" => Some(facts.state.clone()),
            "reason" => Some(facts.reason.clone()),
            "asset" => text(facts.asset.as_deref()),
            "stream" => text(stream.map(|stream| stream.name.as_str())),
            "topic" => text(stream.map(|stream| stream.topic.as_str())),
            "records" => text(stream.map(|stream| stream.records.as_str())),
            "command" => Some(stream.map(StoppedStream::command).unwrap_or_default()),
            "logical_date" => text(date.as_deref()),
            "at" => Some(orch_spec::schedule::isoformat(at)),
            "key" => Some(key.to_string()),
            "subject" => text(asked.map(|asked| asked.subject.as_str())),
            "body" => text(asked.map(|asked| asked.body.as_str())),
            "options" => Some(asked.map(|asked| asked.options.join(", ")).unwrap_or_default()),
            "asked" => Some(asked.map(addressees).unwrap_or_default()),
            "deadline" => text(deadline.as_deref()),
            "link" => Some(link.clone()),
            _ => None,
        }
    };
    let usual = usual(kind, facts, run_id);
    // A newer binary may have written a template with a field that this binary does not have. The template is then sent
    // unchanged.
    let fill = |template: &String, escape: fn(&str) -> String| {
        filled(template, |name| field(name).map(|value| escape(&value))).unwrap_or_else(|_| template.clone())
    };
    let subject = notifier.subject.as_ref().map_or_else(|| usual.clone(), |template| fill(template, str::to_string));
    let (text, slack_text) = if let Some(template) = &notifier.message {
        (fill(template, str::to_string), fill(template, escape_slack))
    } else {
        let reason = Some(facts.reason.clone()).filter(|reason| !reason.is_empty());
        let last = asked.map_or_else(|| link.clone(), |asked| question(asked, deadline.as_deref(), &link));
        let others = facts.failed.as_ref().and_then(FailedTasks::others);
        let lines = [Some(usual.clone()), reason, others, stream.map(continued), Some(last)];
        let text = lines.into_iter().flatten().collect::<Vec<_>>().join("\n");
        (text.clone(), escape_slack(&text))
    };
    let line: String = subject.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut fields = json!({
        "key": key, "kind": kind.as_str(), "at": orch_spec::schedule::isoformat(at),
        "dag_id": facts.dag_id, "run_id": run_id, "logical_date": date, "task_id": facts.task_id,
        "map_index": facts.map_index, "elements": facts.elements, "try_number": facts.try_number, "state": facts.state, "reason": facts.reason,
        "asset": facts.asset, "link": link,
    });
    if let Some(failed) = &facts.failed {
        fields["failed_tasks"] = json!(failed.count);
        fields["failures"] = json!(failed.first);
    }
    if let Some(asked) = asked {
        fields["subject"] = json!(asked.subject);
        fields["body"] = json!(asked.body);
        fields["options"] = json!(asked.options);
        fields["asked"] = json!(asked.assigned_users);
        fields["deadline"] = json!(deadline);
    }
    if let Some(stream) = stream {
        fields["stream"] = json!(stream.name);
        fields["topic"] = json!(stream.topic);
        fields["records"] = json!(stream.records);
        fields["command"] = json!(stream.command());
    }
    Message {
        key: key.into(),
        kind,
        subject: line.chars().take(MOST_SUBJECT_CHARS).collect(),
        text: text.chars().take(MOST_CHARS).collect(),
        slack_text: slack_text.chars().take(MOST_CHARS).collect(),
        fields,
    }
}

/// Escapes the characters that Slack reads as markup in `text`: `<!channel>` would mention everyone in the channel.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn addressees(asked: &AlertQuestion) -> String {
    if asked.assigned_users.is_empty() { "anyone who may start runs".into() } else { asked.assigned_users.join(", ") }
}

/// Returns the default message about a question that a task asks users, without its subject.
fn question(asked: &AlertQuestion, deadline: Option<&str>, link: &str) -> String {
    let until = deadline.map(|at| format!(", until {at}")).unwrap_or_default();
    let lines = [
        asked.body.clone(),
        format!("It asks {}{until}: {}", addressees(asked), asked.options.join(", ")),
        format!("Answer it: {link}"),
    ];
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Returns the records that a stream could not publish, and the command that restarts the stream.
fn continued(stream: &StoppedStream) -> String {
    let StoppedStream { topic, records, .. } = stream;
    let of_topic = if topic.is_empty() { String::new() } else { format!(" of topic `{topic}`") };
    let missing = if records.is_empty() { String::new() } else { format!("Not published: {records}{of_topic}\n") };
    let next = if stream.waits_for_restart {
        format!("Remove the cause, then run: {}", stream.command())
    } else {
        format!("orch retries it. To retry now: {}", stream.command())
    };
    missing + &next
}

fn usual(kind: AlertKind, facts: &Facts, run_id: Option<&str>) -> String {
    let dag = &facts.dag_id;
    let of_run = run_id.map_or_else(|| format!("`{dag}`"), |run| format!("`{dag}`, run `{run}`"));
    let task = || {
        let element = facts.map_index.map(|index| format!(" [{index}]")).unwrap_or_default();
        let try_number = facts.try_number.unwrap_or(1);
        format!("task `{}`{element} of {of_run}", facts.task_id.as_deref().unwrap_or_default())
            + &match try_number {
                1 => String::new(),
                number => format!(" (attempt {number})"),
            }
    };
    let asset = facts.asset.as_deref().unwrap_or_default();
    if let Some(elements) = &facts.elements {
        return elements.words(kind, &task());
    }
    match kind {
        AlertKind::RunSuccess => format!("{of_run} succeeded"),
        AlertKind::RunFailed => match facts.failed.as_ref().map(FailedTasks::summary).unwrap_or_default() {
            summary if summary.is_empty() => format!("{of_run} failed"),
            summary => format!("{of_run} failed: {summary}"),
        },
        AlertKind::TaskSuccess => format!("{} succeeded", task()),
        AlertKind::TaskFailed => format!("{} failed", task()),
        AlertKind::TaskRetry => format!("{} failed and is tried again", task()),
        AlertKind::TaskSkipped => format!("{} was skipped", task()),
        AlertKind::TaskAwaitingInput => format!("{} waits for an answer", task()),
        AlertKind::DeadlineMissed => format!("{of_run} missed its deadline"),
        AlertKind::AssetStale => format!("asset `{asset}` is stale"),
        AlertKind::CheckFailed => format!("a check of asset `{asset}` did not pass: {}", task()),
        AlertKind::StreamStopped => {
            let stream = facts.stream.clone().unwrap_or_default();
            let how =
                if stream.waits_for_restart { "stopped".into() } else { format!("failed {} times", stream.failures) };
            format!("stream `{}` {how}", stream.name)
        }
        AlertKind::Test => "orch can reach you".into(),
    }
}
