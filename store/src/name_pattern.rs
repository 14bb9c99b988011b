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
        let (contains, begins) = self.in_sql();
        if let Some(patterns) = contains {
            query.push(" and ").push(column).push(" ilike any(").push_bind(patterns).push(")");
        }
        if let Some(patterns) = begins {
            query.push(" and ").push(column).push(" like any(").push_bind(patterns).push(")");
        }
    }

    /// Patterns for `ilike any` and for `like any`.
    pub(crate) fn in_sql(&self) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let part = |part: &String| format!("%{}%", part.replace('\\', "\\\\"));
        let start = |text: &String| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%";
        let patterns = |texts: &Option<Vec<String>>, make: &dyn Fn(&String) -> String| {
            texts.as_ref().map(|texts| texts.iter().map(make).collect())
        };
        (patterns(&self.contains, &part), patterns(&self.begins, &start))
    }
}
