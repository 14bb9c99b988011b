//! Questions that tasks ask users: the question as data, which answers are valid, and who may answer. Pure; the store
//! keeps questions and answers, and the pages and the API call these functions before they write.

use crate::params::{violations, with_defaults};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Kind of a wait that no worker polls. Only an answer from a user or the timeout ends it.
pub const ANSWER: &str = "answer";
pub const APPROVE: &str = "Approve";
pub const REJECT: &str = "Reject";
/// The only option of a form without choices, as in Airflow.
pub const OK: &str = "OK";

/// Airflow's name for the responder if there is no answer in time.
pub const FALLBACK: &str = "Fallback to defaults";

const MOST_OPTIONS: usize = 100;
const MOST_SUBJECT_CHARS: usize = 500;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Options that are chosen if there is no answer in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Vec<String>>,
    /// Several options may be chosen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub multiple: bool,
    /// JSON Schema of the input values.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// User names. Empty: every user who may start runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assigned_users: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// For an approval: a rejection fails the task.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fail_on_reject: bool,
    /// For an approval: a rejection skips all downstream tasks, not only the direct ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_downstream_trigger_rules: bool,
    /// For an input: the task to follow for each option. An option without an entry is the id of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<BTreeMap<String, String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Chosen options and input values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalInput {
    pub chosen_options: Vec<String>,
    #[serde(default)]
    pub params_input: Map<String, Value>,
}

/// An accepted answer. It is the output of the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub chosen_options: Vec<String>,
    #[serde(default)]
    pub params_input: Map<String, Value>,
    pub responded_at: DateTime<Utc>,
    /// `None` if the defaults were used because there was no answer in time.
    #[serde(default)]
    pub responded_by_user: Option<String>,
    #[serde(default)]
    pub timed_out: bool,
}

impl Answer {
    pub fn chose(&self, option: &str) -> bool {
        self.chosen_options.iter().any(|chosen| chosen == option)
    }
}

/// A user who tries to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person<'a> {
    pub name: &'a str,
    /// True if the user's role allows it.
    pub may_start_runs: bool,
}

/// Reasons to reject an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("`{user}` may not start runs, and no one is asked by name: users who may start runs are")]
    MayNotRun { user: String },
    #[error("`{user}` is not asked: one of {} is", assigned.join(", "))]
    NotAsked { user: String, assigned: Vec<String> },
    #[error("nothing is chosen: choose {} of {}", if *.multiple { "some" } else { "one" }, options.join(", "))]
    NothingChosen { multiple: bool, options: Vec<String> },
    #[error("`{option}` is no option: choose of {}", options.join(", "))]
    NoSuchOption { option: String, options: Vec<String> },
    #[error("only one option can be chosen")]
    TooMany,
    #[error("{0}")]
    Params(String),
}

impl Question {
    /// Returns a question with the options to approve or reject.
    pub fn approval(subject: impl Into<String>) -> Question {
        Question {
            subject: subject.into(),
            body: None,
            options: vec![APPROVE.into(), REJECT.into()],
            defaults: None,
            multiple: false,
            params: Value::Null,
            assigned_users: Vec::new(),
            timeout_ms: None,
            fail_on_reject: false,
            ignore_downstream_trigger_rules: false,
            follow: None,
        }
    }

    /// Returns the question of an approval. The options in its config are replaced.
    #[must_use]
    pub fn approved_or_rejected(mut self) -> Question {
        self.options = vec![APPROVE.into(), REJECT.into()];
        self
    }

    /// Returns the question of an input. Without options, it has the option `OK`, which is also the default.
    #[must_use]
    pub fn sent(mut self) -> Question {
        if self.options.is_empty() {
            self.options = vec![OK.into()];
            self.defaults.get_or_insert_with(|| vec![OK.into()]);
        }
        self
    }

    /// Rejects an invalid question with its first problem.
    pub fn check(&self) -> Result<(), String> {
        if self.subject.trim().is_empty() {
            return Err("the subject is empty: say what is to be decided".into());
        }
        if self.subject.chars().count() > MOST_SUBJECT_CHARS {
            return Err(format!("the subject has more than {MOST_SUBJECT_CHARS} letters: put the rest into the body"));
        }
        if self.options.is_empty() || self.options.len() > MOST_OPTIONS {
            return Err(format!("there are {} options: name 1 to {MOST_OPTIONS}", self.options.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.options.iter().find(|option| option.trim().is_empty() || !seen.insert(*option)) {
            return Err(format!("the option `{twice}` is empty or named twice"));
        }
        if let Some(defaults) = &self.defaults {
            self.chosen(defaults).map_err(|refused| format!("its defaults: {refused}"))?;
        }
        let follow = self.follow.iter().flatten();
        if let Some((option, _)) = follow.into_iter().find(|(option, _)| !self.options.contains(option)) {
            return Err(format!("`follow` names `{option}`, which is no option"));
        }
        if !self.params.is_null() && !self.params.is_object() {
            return Err("`params` is no JSON Schema".into());
        }
        Ok(())
    }

    /// Returns the answer that is used if there is none in time. `None`: the task fails.
    pub fn fallback(&self) -> Option<ApprovalInput> {
        let chosen_options = self.defaults.clone()?;
        Some(ApprovalInput { chosen_options, params_input: self.filled(Map::new()) })
    }

    /// Validates an answer, and adds the defaults of missing input values.
    pub fn answered(&self, given: ApprovalInput) -> Result<ApprovalInput, Refused> {
        self.chosen(&given.chosen_options)?;
        let params_input = self.filled(given.params_input);
        if self.params.is_null() {
            if let Some(name) = params_input.keys().next() {
                return Err(Refused::Params(format!("`{name}` is not asked for")));
            }
        } else if let Some(wrong) = violations(&self.params, &Value::Object(params_input.clone())).first() {
            return Err(Refused::Params(wrong.to_string()));
        }
        Ok(ApprovalInput { params_input, ..given })
    }

    /// Checks that a user may answer. Assigned users may answer regardless of their role. Without assigned users, every
    /// user who may start runs can answer.
    pub fn asks(&self, person: Person<'_>) -> Result<(), Refused> {
        let user = || person.name.to_string();
        if self.assigned_users.is_empty() {
            return if person.may_start_runs { Ok(()) } else { Err(Refused::MayNotRun { user: user() }) };
        }
        if self.assigned_users.iter().any(|name| name == person.name) {
            return Ok(());
        }
        Err(Refused::NotAsked { user: user(), assigned: self.assigned_users.clone() })
    }

    fn chosen(&self, chosen: &[String]) -> Result<(), Refused> {
        let options = || self.options.clone();
        if chosen.is_empty() {
            return Err(Refused::NothingChosen { multiple: self.multiple, options: options() });
        }
        if let Some(option) = chosen.iter().find(|option| !self.options.contains(option)) {
            return Err(Refused::NoSuchOption { option: option.clone(), options: options() });
        }
        if chosen.len() > 1 && (!self.multiple || chosen.iter().collect::<BTreeSet<_>>().len() < chosen.len()) {
            return Err(Refused::TooMany);
        }
        Ok(())
    }

    fn filled(&self, given: Map<String, Value>) -> Map<String, Value> {
        match with_defaults(&self.params, &Value::Object(given)) {
            Value::Object(filled) => filled,
            _ => Map::new(),
        }
    }
}

/// Returns the tasks that an answer selects, by the config of the task that asked. `None` if the task is not a branch.
pub fn followed(config: &Value, output: &Value) -> Option<Vec<String>> {
    let follow = config.get("follow")?.as_object()?;
    let chosen = output["chosen_options"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let task = |option: &str| follow.get(option).and_then(Value::as_str).unwrap_or(option).to_string();
    Some(chosen.map(task).collect())
}

/// Returns true if an approval was rejected.
pub fn is_rejected(output: &Value) -> bool {
    output["chosen_options"].as_array().is_some_and(|chosen| chosen.iter().any(|option| option == REJECT))
}

#[cfg(test)]
mod tests;
