//! The list of users, for pages.

use crate::list::List;
use chrono::{DateTime, Utc};
use sqlx::FromRow;

#[derive(Debug, Clone, FromRow)]
pub struct ListedUser {
    pub name: String,
    pub full_name: String,
    pub email: String,
    pub role: String,
    pub is_disabled: bool,
    pub created_at: DateTime<Utc>,
    /// Number of sessions (of browsers and programs) that have not expired.
    pub sessions: i64,
    pub tokens: i64,
}

/// Columns of users by which pages filter or sort.
pub mod by {
    use crate::list::Column;
    use crate::list::Filter::{AnyOf, Pattern, Range};

    pub const NAME: Column = Column::text("username", "u.name").by(&[Pattern]).sorted();
    /// Matches text in the user name, the full name, the email address or the role.
    pub const WORDS: Column = Column::text(
        "words",
        "(u.name ilike any($) or u.full_name ilike any($) or u.email ilike any($) or u.role ilike any($))",
    );

    pub(super) const ALL: &[Column] = &[
        NAME,
        Column::text("full_name", "u.full_name").by(&[Pattern]).sorted(),
        Column::text("email", "u.email").by(&[Pattern]).sorted(),
        Column::text("role", "u.role").by(&[AnyOf]).sorted(),
        Column::flag("is_disabled", "u.is_disabled").sorted(),
        Column::moment("created_at", "u.created_at").by(&[Range]).sorted(),
    ];
}

/// The list of users, sorted by name by default.
pub static USERS: List<ListedUser> = List {
    select: "u.name, u.full_name, u.email, u.role, u.is_disabled, u.created_at,
        (select count(*) from web_session s where s.user_name = u.name and s.expires_at > now()) as sessions,
        (select count(*) from api_token t where t.user_name = u.name and t.generation = u.generation
            and (t.expires_at is null or t.expires_at > now())) as tokens",
    from: "api_user u",
    joins: &[],
    columns: by::ALL,
    key: "u.name",
    order: &[],
    read: |row| Ok(ListedUser::from_row(row)?),
};
