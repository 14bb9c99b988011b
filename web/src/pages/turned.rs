//! Pagination of long lists.

use crate::extract::Query;
use orch_store::narrow;

/// Maximum page number.
const MOST_PAGES: i64 = 100_000;

/// The requested page of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turned {
    page: i64,
    lines: i64,
}

impl Turned {
    /// Reads the page number from the query. `lines` is the number of rows per page.
    pub(crate) fn to(query: &mut Query, lines: i64) -> Turned {
        Turned { page: query.count("page", 1).clamp(1, MOST_PAGES), lines }
    }

    pub(crate) fn skip(self) -> i64 {
        (self.page - 1) * self.lines
    }

    /// Returns the limit for the query: one more row than a page shows, which indicates that another page exists.
    pub(crate) fn most(self) -> i64 {
        self.lines + 1
    }

    /// Truncates `rows` to this page, and returns the addresses of the previous and next page.
    pub(crate) fn cut<T>(self, rows: &mut Vec<T>, address: impl Fn(i64) -> String) -> (Option<String>, Option<String>) {
        let more = rows.len() as i64 > self.lines;
        rows.truncate(narrow::size(self.lines));
        ((self.page > 1).then(|| address(self.page - 1)), more.then(|| address(self.page + 1)))
    }
}
