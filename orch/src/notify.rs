//! Notifications, and deadlines of runs.

use crate::options::whole_ms;
use orch_spec::{Deadline, DeadlineFrom, Notifier};
use serde_json::Map;
use std::time::Duration;

/// Sends a notification over this connection. The connection's type selects the channel (`smtp`, `slackwebhook`,
/// `webhook`, `command`).
pub fn notify(connection: &str) -> Notify {
    Notify { spec: Notifier { connection: connection.into(), ..Notifier::default() } }
}

/// A notification: its connection, subject and message.
#[derive(Debug, Clone)]
#[must_use = "give it to a dag or a task: `.on_failure(notify(\"team_chat\"))`"]
pub struct Notify {
    pub(crate) spec: Notifier,
}

impl Notify {
    /// Sets the subject, one line with fields in braces: `"{dag_id} failed"`.
    pub fn subject(mut self, template: &str) -> Self {
        self.spec.subject = Some(template.into());
        self
    }

    /// Sets the message, with fields in braces: `"{task_id} of {run_id}: {reason}"`.
    pub fn message(mut self, template: &str) -> Self {
        self.spec.message = Some(template.into());
        self
    }

    /// Sends a separate message for each element of a mapped task. By default, elements that end close together share
    /// a message.
    pub fn each(mut self) -> Self {
        self.spec.each = true;
        self
    }

    /// Sets the recipient of an e-mail, instead of the connection's recipients. Can be called several times.
    pub fn to(mut self, address: &str) -> Self {
        self.spec.to.push(address.into());
        self
    }
}

impl From<Notify> for Notifier {
    fn from(notify: Notify) -> Notifier {
        notify.spec
    }
}

/// Returns a deadline: a run is late if it has not finished this long after it was queued.
pub fn after_queued(time: Duration) -> Late {
    Late::after(DeadlineFrom::Queued, time)
}

/// Returns a deadline: a run is late if it has not finished this long after its start.
pub fn after_start(time: Duration) -> Late {
    Late::after(DeadlineFrom::Started, time)
}

/// Returns a deadline: a run is late if it has not finished this long after its logical date.
pub fn after_logical_date(time: Duration) -> Late {
    Late::after(DeadlineFrom::LogicalDate, time)
}

/// A deadline of a run: `.deadline(after_start(hours(1)).tell(notify("team_chat")))`.
#[derive(Debug, Clone)]
#[must_use = "give it to a dag: `.deadline(after_start(hours(1)))`"]
pub struct Late {
    pub(crate) spec: Deadline,
}

impl Late {
    fn after(from: DeadlineFrom, time: Duration) -> Late {
        Late { spec: Deadline { from, after_ms: whole_ms(time), notify: Vec::new(), extra: Map::new() } }
    }

    /// Adds a notification for late runs. Can be called several times.
    pub fn tell(mut self, whom: Notify) -> Self {
        self.spec.notify.push(whom.spec);
        self
    }
}
