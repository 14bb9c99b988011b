//! Whom to tell, and when a run is late.

use crate::options::whole_ms;
use orch_spec::{Deadline, DeadlineFrom, Notifier};
use serde_json::Map;
use std::time::Duration;

/// Tells somebody over the connection of this id: its type says how (`smtp`, `slackwebhook`, `webhook`, `command`).
pub fn notify(connection: &str) -> Notify {
    Notify { spec: Notifier { connection: connection.into(), ..Notifier::default() } }
}

/// Whom to tell, and in which words.
#[derive(Debug, Clone)]
#[must_use = "give it to a dag or a task: `.on_failure(notify(\"team_chat\"))`"]
pub struct Notify {
    pub(crate) spec: Notifier,
}

impl Notify {
    /// One line, with fields in braces: `"{dag_id} failed"`.
    pub fn subject(mut self, template: &str) -> Self {
        self.spec.subject = Some(template.into());
        self
    }

    /// The text, with fields in braces: `"{task_id} of {run_id}: {reason}"`.
    pub fn message(mut self, template: &str) -> Self {
        self.spec.message = Some(template.into());
        self
    }

    /// Of a mapped task: a message for each element. Without it those that end near each other are one message.
    pub fn each(mut self) -> Self {
        self.spec.each = true;
        self
    }

    /// Of an e-mail: to this address instead of those that the connection names. May be said several times.
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

/// A run is late that is not over so long after it was queued.
pub fn after_queued(time: Duration) -> Late {
    Late::after(DeadlineFrom::Queued, time)
}

/// A run is late that is not over so long after it began.
pub fn after_start(time: Duration) -> Late {
    Late::after(DeadlineFrom::Started, time)
}

/// A run is late that is not over so long after its logical date.
pub fn after_logical_date(time: Duration) -> Late {
    Late::after(DeadlineFrom::LogicalDate, time)
}

/// When a run is late: `.deadline(after_start(hours(1)).tell(notify("team_chat")))`.
#[derive(Debug, Clone)]
#[must_use = "give it to a dag: `.deadline(after_start(hours(1)))`"]
pub struct Late {
    pub(crate) spec: Deadline,
}

impl Late {
    fn after(from: DeadlineFrom, time: Duration) -> Late {
        Late { spec: Deadline { from, after_ms: whole_ms(time), notify: Vec::new(), extra: Map::new() } }
    }

    /// Who is told. May be said several times.
    pub fn tell(mut self, whom: Notify) -> Self {
        self.spec.notify.push(whom.spec);
        self
    }
}
