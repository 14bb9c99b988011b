//! Operational settings of a stream: its initial state, its alerts, and its name in the Kafka Connect API.

use super::Stream;
use orch_spec::Notifier;
use orch_spec::template::check_template;

impl Stream {
    /// Adds a notifier for alerts when the stream stops or fails six times in a row. May be called several times.
    pub fn on_failure(mut self, whom: impl Into<Notifier>) -> Stream {
        self.on_failure.push(whom.into());
        self
    }

    /// Sets an additional name of the stream in the Kafka Connect API, such as the name of the connector that the
    /// stream replaces.
    pub fn connector(self, name: impl Into<String>) -> Stream {
        Stream { connector: Some(name.into()), ..self }
    }

    /// Creates the stream paused. It does nothing until a user resumes it.
    pub fn paused(self) -> Stream {
        Stream { is_paused: true, ..self }
    }

    /// Returns an error if a text of a notifier is not a valid template.
    pub(super) fn check_notifiers(&self) -> Result<(), String> {
        let mut templates = self.on_failure.iter().flat_map(|one| [&one.subject, &one.message]).flatten();
        let checked = templates.try_for_each(|template| check_template(template));
        checked.map_err(|what| format!("has a notifier whose text is not valid: {what}"))
    }
}
