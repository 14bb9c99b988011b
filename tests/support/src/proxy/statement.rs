//! Classifies the writes of a batch by the text of their SQL.

use super::message::Message;
use std::collections::HashMap;

/// Writes whose result a client may not learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statement {
    /// A step that only claims tasks.
    Claim,
    /// A step that records outcomes.
    Outcome,
    /// The end of a transaction: folds, expired leases, registration, starts of runs.
    Commit,
    Heartbeat,
    Register,
    /// Terminates the old session of a worker before the worker continues.
    Resume,
    CreateRun,
    Log,
    /// Any other write.
    Other,
}

impl Statement {
    pub(super) fn of(text: &str) -> Option<Statement> {
        let text: String = text.trim_start().to_lowercase();
        let marks = [
            ("fin as (update", Statement::Outcome),
            ("clm as (delete", Statement::Claim),
            ("with beat as (", Statement::Heartbeat),
            ("insert into worker ", Statement::Register),
            ("pg_terminate_backend", Statement::Resume),
            ("insert into dag_run ", Statement::CreateRun),
            ("insert into log_chunk ", Statement::Log),
        ];
        if text.starts_with("commit") {
            return Some(Statement::Commit);
        }
        if let Some((_, statement)) = marks.into_iter().find(|(mark, _)| text.contains(mark)) {
            return Some(statement);
        }
        let writes = ["insert into ", "update ", "delete from "].iter().any(|verb| text.contains(verb));
        writes.then_some(Statement::Other)
    }
}

/// The prepared statements by name, and the write that the current batch executes.
#[derive(Default)]
pub(super) struct Names {
    prepared: HashMap<Vec<u8>, Option<Statement>>,
    bound: Option<Statement>,
    executed: Option<Statement>,
}

impl Names {
    pub(super) fn hear(&mut self, message: &Message) {
        let mut words = message.body().split(|&byte| byte == 0);
        let mut next = || words.next().unwrap_or_default();
        match message.kind() {
            b'P' => {
                let name = next().to_vec();
                let statement = Statement::of(&String::from_utf8_lossy(next()));
                self.prepared.insert(name, statement);
            }
            b'B' => {
                let _portal = next();
                self.bound = self.prepared.get(next()).copied().flatten();
            }
            b'E' => self.executed = self.bound,
            b'Q' => self.executed = Statement::of(&String::from_utf8_lossy(next())),
            _ => {}
        }
    }

    pub(super) fn take(&mut self) -> Option<Statement> {
        self.executed.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_writes_are_known_by_their_text() {
        assert_eq!(Statement::of("COMMIT"), Some(Statement::Commit));
        assert_eq!(Statement::of("select 1"), None);
        assert_eq!(Statement::of("with clm as (delete from ready"), Some(Statement::Claim));
        assert_eq!(
            Statement::of("with f as (), fin as (update x), clm as (delete from ready"),
            Some(Statement::Outcome)
        );
        assert_eq!(Statement::of("update dag set x = 1"), Some(Statement::Other));
    }
}
