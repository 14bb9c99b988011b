//! Typed ids. They are validated when they are parsed, so every value of these types is valid.

use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr, sync::Arc};

/// Maximum length of an id. It is Airflow's limit, and short enough for an index row.
pub const MAX_ID_CHARS: usize = 250;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} `{start}…` has {chars} characters, more than {MAX_ID_CHARS}")]
    TooLong { what: &'static str, start: String, chars: usize },
    #[error("{what} {id:?} has the character {bad:?}: use letters, digits and `{allowed}`")]
    BadChar { what: &'static str, id: String, bad: char, allowed: &'static str },
    #[error("{what} `~` stands for all of them: choose another")]
    Tilde { what: &'static str },
}

pub(crate) fn check(what: &'static str, id: &str, allowed: &'static str) -> Result<(), BadId> {
    if id.is_empty() {
        return Err(BadId::Empty { what });
    }
    let chars = id.chars().count();
    if chars > MAX_ID_CHARS {
        return Err(BadId::TooLong { what, start: id.chars().take(20).collect(), chars });
    }
    match id.chars().find(|c| !c.is_ascii_alphanumeric() && !allowed.contains(*c)) {
        Some(bad) => Err(BadId::BadChar { what, id: id.into(), bad, allowed }),
        None if id == "~" => Err(BadId::Tilde { what }),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(id: &str) -> Result<Self, BadId> {
                check($what, id, $allowed).map(|()| Self(id.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(id: &str) -> Result<Self, BadId> {
                Self::new(id)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(id: String) -> Result<Self, BadId> {
                Self::new(&id)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().into()
            }
        }
    };
}

id!(/// The name of a DAG.
    DagId, "dag id", "_.-");
id!(/// The name of a task in its DAG, with the prefixes of its groups.
    TaskId, "task id", "_.-");
id!(/// The name of a run in its DAG, as users type it. The run's key in the database is a UUID.
    RunId, "run id", "_.~:+-");
id!(/// The name of a connection.
    ConnectionId, "connection id", "_.-");

/// Checks the key of a variable: any text on one line, as in Airflow.
pub fn check_variable_key(key: &str) -> Result<(), BadId> {
    let what = "variable key";
    let bad = key.chars().find(|c| c.is_control());
    match bad {
        _ if key.is_empty() => Err(BadId::Empty { what }),
        _ if key.chars().count() > MAX_ID_CHARS => {
            Err(BadId::TooLong { what, start: key.chars().take(20).collect(), chars: key.chars().count() })
        }
        Some(bad) => Err(BadId::BadChar { what, id: key.into(), bad, allowed: "any sign that can be seen" }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_at_the_edge() {
        assert!(DagId::new("retail_medallion.v2-x").is_ok());
        assert!(RunId::new("scheduled__2026-11-20T06:00:00+00:00").is_ok());
        let wrong = DagId::new("../etc").expect_err("a slash is no letter");
        assert_eq!(wrong.to_string(), "dag id \"../etc\" has the character '/': use letters, digits and `_.-`");
        assert_eq!(RunId::new("~"), Err(BadId::Tilde { what: "run id" }));
        assert_eq!(TaskId::new(""), Err(BadId::Empty { what: "task id" }));
        assert!(DagId::new(&"x".repeat(251)).is_err());
        assert!(DagId::new("a\0b").is_err() && DagId::new("größe").is_err());
    }
}
