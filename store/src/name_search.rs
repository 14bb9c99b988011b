//! Lists of things that are known by a name alone (connections, variables): which of them, in which order, which page.

use sqlx::QueryBuilder;
use sqlx::postgres::Postgres;

/// Shown at once at most.
const MOST_LISTED: i64 = 1_000;

/// By what a list may be ordered.
pub trait Column: Copy {
    fn column(self) -> &'static str;
}

/// What is not said does not matter.
#[derive(Debug, Clone)]
pub struct NameSearch<O> {
    /// One of them is in the name, in any case.
    pub contains: Option<Vec<String>>,
    /// The name begins with one of them.
    pub begins: Option<Vec<String>>,
    /// Each with whether it descends; at last by name.
    pub order: Vec<(O, bool)>,
    pub skip: i64,
    pub most: i64,
}

impl<O> Default for NameSearch<O> {
    fn default() -> Self {
        NameSearch { contains: None, begins: None, order: Vec::new(), skip: 0, most: MOST_LISTED }
    }
}

impl<O: Column> NameSearch<O> {
    pub(crate) fn push_which(&self, query: &mut QueryBuilder<Postgres>, name: &str) {
        query.push(" where true");
        if let Some(parts) = &self.contains {
            let patterns: Vec<String> = parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect();
            query.push(" and ").push(name).push(" ilike any(").push_bind(patterns).push(")");
        }
        if let Some(starts) = &self.begins {
            let literal = |text: &String| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%";
            let patterns: Vec<String> = starts.iter().map(literal).collect();
            query.push(" and ").push(name).push(" like any(").push_bind(patterns).push(")");
        }
    }

    pub(crate) fn push_page(&self, query: &mut QueryBuilder<Postgres>, name: &str) {
        query.push(" order by ");
        for (order, descends) in &self.order {
            let direction = if *descends { " desc nulls last, " } else { " asc nulls last, " };
            query.push(order.column()).push(direction);
        }
        query.push(name).push(" limit ").push_bind(self.most.clamp(0, MOST_LISTED));
        query.push(" offset ").push_bind(self.skip.max(0));
    }
}
