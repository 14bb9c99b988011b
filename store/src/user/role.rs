//! Roles of users. Each role includes all permissions of the roles before it in the enum.

use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Role {
    /// Can see everything except secrets.
    #[default]
    Viewer,
    /// Can also trigger, clear and mark runs.
    User,
    /// Can also change connections, variables, pools, topics and streams, query the lake and delete runs.
    Op,
    /// Can do everything, including managing users.
    Admin,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Viewer, Role::User, Role::Op, Role::Admin];

    /// Returns a short description of the role, for help texts and pages.
    pub const fn about(self) -> &'static str {
        match self {
            Role::Viewer => "sees everything but secrets",
            Role::User => "triggers, clears and marks",
            Role::Op => {
                "also changes connections, variables, pools, topics and streams, queries the lake, deletes runs"
            }
            Role::Admin => "everything, users included",
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::User => "user",
            Role::Op => "op",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(word));
        found.ok_or_else(|| format!("`{word}` is not a role: write viewer, user, op or admin"))
    }
}

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        word.parse()
    }
}
