//! Long lists that people turn over page by page.

use crate::extract::Query;
use orch_store::narrow;

/// Nobody turns further.
const MOST_PAGES: i64 = 100_000;

/// The page of a list that somebody looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turned {
    page: i64,
    lines: i64,
}

impl Turned {
    /// `page` of the query; `lines`: of one page.
    pub(crate) fn to(query: &mut Query, lines: i64) -> Turned {
        Turned { page: query.count("page", 1).clamp(1, MOST_PAGES), lines }
    }

    pub(crate) fn skip(self) -> i64 {
        (self.page - 1) * self.lines
    }

    /// One more than a page has says whether there is another one.
    pub(crate) fn most(self) -> i64 {
        self.lines + 1
    }

    /// Leaves the lines of this page, and gives the addresses of the one before and of the one after.
    pub(crate) fn cut<T>(self, rows: &mut Vec<T>, address: impl Fn(i64) -> String) -> (Option<String>, Option<String>) {
        let more = rows.len() as i64 > self.lines;
        rows.truncate(narrow::size(self.lines));
        ((self.page > 1).then(|| address(self.page - 1)), more.then(|| address(self.page + 1)))
    }
}
