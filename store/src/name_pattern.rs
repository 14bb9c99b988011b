//! Names in lists: parts of a name in any case, or its beginning.

use sqlx::QueryBuilder;
use sqlx::postgres::Postgres;

/// What is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct NamePattern {
    /// One of them is in the name, in any case; `%` and `_` stand for others, as in SQL.
    pub contains: Option<Vec<String>>,
    /// The name begins with one of them.
    pub begins: Option<Vec<String>>,
}

impl NamePattern {
    /// `column` is written in the program.
    pub(crate) fn push(&self, query: &mut QueryBuilder<Postgres>, column: &'static str) {
        if let Some(parts) = &self.contains {
            let patterns: Vec<String> = parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect();
            query.push(" and ").push(column).push(" ilike any(").push_bind(patterns).push(")");
        }
        if let Some(starts) = &self.begins {
            let literal = |text: &String| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%";
            let patterns: Vec<String> = starts.iter().map(literal).collect();
            query.push(" and ").push(column).push(" like any(").push_bind(patterns).push(")");
        }
    }
}
