//! Lists that users can filter and sort. A list is declared by its columns: the SQL expression of each, with the
//! supported filters and orders. The SQL statement, the query parameters of the API and their descriptions in
//! `/openapi.json`, and the parameters that CLI commands send are all derived from this declaration.
//!
//! A statement contains only the conditions of the request, so that Postgres plans each kind of search separately. The
//! SQL text consists of constants, and every value is a bound parameter.

mod column;
mod memory;
mod search;

pub use column::{Column, Compare, Filter, ListColumnType, Words};
pub use memory::Cell;
pub use search::{Condition, Direction, Order, Search, Test, Values};

use crate::bounded::Collected;
use crate::{StoreResult, boxed};
use futures::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::{QueryBuilder, Row as _};
use std::collections::BTreeSet;

/// Maximum number of rows on one page of a list.
pub const MOST_LISTED: i64 = 1_000;
/// Maximum total size of the rows of a page, in bytes. 1,000 asset events with the largest allowed `extra` take half of
/// it.
const MAX_LIST_BYTES: usize = 128 << 20;

#[derive(Debug)]
pub struct List<R: 'static> {
    /// Select list of the SQL statement (the text between `select` and `from`).
    pub select: &'static str,
    pub from: &'static str,
    pub joins: &'static [Join],
    /// Columns by which users may filter or sort. Internal code may filter by other columns too.
    pub columns: &'static [Column],
    /// Columns of a unique key. They break ties between rows that are otherwise equal, and have the direction of the
    /// first order.
    pub key: &'static str,
    /// Default order of the rows, for a search without an order.
    pub order: &'static [Order],
    pub read: fn(&PgRow) -> StoreResult<R>,
}

/// A join of the listed table with another table.
#[derive(Debug)]
pub struct Join {
    pub name: &'static str,
    pub sql: &'static str,
    /// SQL text before the `select`, such as a CTE to which the join in `sql` refers.
    pub with: &'static str,
    /// If true, the select list needs the join, so it is part of every statement. If false, it is added only if a
    /// filter or an order needs it.
    pub is_read: bool,
}

/// One page of a list, and the total number of rows that match the search.
#[derive(Debug)]
pub struct ListPage<R> {
    pub rows: Vec<R>,
    pub total: i64,
}

impl<R: Send> List<R> {
    /// Returns one page of the matching rows.
    ///
    /// # Errors
    /// Returns `StoreError::TooManyBytes` if the rows of the page exceed `MAX_LIST_BYTES`.
    #[boxed]
    pub async fn rows(&self, db: &mut PgConnection, search: &Search) -> StoreResult<Vec<R>> {
        let mut statement = self.statement(search);
        let mut rows = statement.build().fetch(db);
        let mut listed = Collected::new(MAX_LIST_BYTES);
        while let Some(row) = rows.try_next().await? {
            let values = (0..row.len()).filter_map(|at| row.try_get_raw(at).ok()?.as_bytes().ok().map(<[u8]>::len));
            let bytes: usize = values.sum();
            listed.push((self.read)(&row)?, bytes)?;
        }
        Ok(listed.into_vec())
    }

    #[boxed]
    pub async fn count(&self, db: &mut PgConnection, search: &Search) -> StoreResult<i64> {
        Ok(self.counting(search).build_query_scalar().fetch_one(db).await?)
    }

    /// Returns one page of the matching rows, and the total number of matching rows. A separate count query runs only
    /// if the total cannot be derived from the page.
    #[boxed]
    pub async fn find(&self, db: &mut PgConnection, search: &Search) -> StoreResult<ListPage<R>> {
        let rows = self.rows(db, search).await?;
        let found = rows.len() as i64;
        let is_last = found < search.most.min(MOST_LISTED) && (found > 0 || search.skip == 0);
        let total = if is_last { search.skip + found } else { self.count(db, search).await? };
        Ok(ListPage { rows, total })
    }

    /// Returns all matching rows. Reads them page by page.
    #[boxed]
    pub async fn all(&self, db: &mut PgConnection, search: &Search) -> StoreResult<Vec<R>> {
        let mut all = Vec::new();
        loop {
            let page = self.rows(db, &search.clone().page(all.len() as i64, MOST_LISTED)).await?;
            let is_last = (page.len() as i64) < MOST_LISTED;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    #[boxed]
    pub async fn first(&self, db: &mut PgConnection, search: &Search) -> StoreResult<Option<R>> {
        let row = self.statement(&Search { most: 1, ..search.clone() }).build().fetch_optional(db).await?;
        row.as_ref().map(self.read).transpose()
    }

    fn statement(&self, search: &Search) -> QueryBuilder<Postgres> {
        let orders = if search.order.is_empty() { self.order } else { &search.order };
        let asked = search.conditions.iter().map(|condition| condition.column.join);
        let asked: BTreeSet<_> = asked.chain(orders.iter().map(|order| order.column.join)).collect();
        let is_joined = |join: &Join| join.is_read || asked.contains(join.name);
        let mut query = self.begin(self.select, is_joined);
        search.push_conditions(&mut query);
        query.push(" order by ");
        for order in orders {
            order.push(&mut query);
            query.push(", ");
        }
        let direction = orders.first().map_or(Direction::Ascending, |order| order.direction);
        query.push(self.key).push(direction.words(false));
        query.push(" limit ").push_bind(search.most.clamp(0, MOST_LISTED));
        query.push(" offset ").push_bind(search.skip.max(0));
        query
    }

    fn counting(&self, search: &Search) -> QueryBuilder<Postgres> {
        let asked = |join: &Join| search.conditions.iter().any(|condition| condition.column.join == join.name);
        let mut query = self.begin("count(*)", asked);
        search.push_conditions(&mut query);
        query
    }

    fn begin(&self, select: &str, is_joined: impl Fn(&Join) -> bool) -> QueryBuilder<Postgres> {
        let joins = || self.joins.iter().filter(|join| is_joined(join));
        let mut query = QueryBuilder::new("");
        joins().for_each(|join| {
            query.push(join.with);
        });
        query.push("select ").push(select).push(" from ").push(self.from);
        joins().for_each(|join| {
            query.push(" ").push(join.sql);
        });
        query.push(" where true");
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    const STATE: Column = Column::words("state", "r.state", Words { noun: "state", words: &["queued", "failed"] })
        .by(&[Filter::AnyOf])
        .cast("run_state")
        .also(|states| if states == ["failed"] { " and r.state = 'failed'" } else { "" })
        .sorted_by("r.state::text");
    const RUN_ID: Column = Column::text("run_id", "r.run_id").by(&[Filter::Pattern, Filter::Prefix]).sorted();
    const CONF: Column = Column::text("conf", "m.conf::text").join("m").nullable().sorted();
    const ASSET: Column =
        Column::text("asset", "exists (select from a where a.name ilike any($) or a.uri ilike any($))");
    const STARTED: Column =
        Column::moment("started", "s.started_at").nullable().within("exists (select from s where $)");
    const RUNS: List<()> = List {
        select: "r.id",
        from: "dag_run r",
        joins: &[
            Join { name: "v", sql: "join v on v.id = r.version", with: "", is_read: true },
            Join { name: "m", sql: "left join m on m.run = r.id", with: "with m as (select 1) ", is_read: false },
        ],
        columns: &[STATE, RUN_ID, CONF],
        key: "r.id",
        order: &[],
        read: |_| Ok(()),
    };

    fn sql(search: &Search) -> String {
        RUNS.statement(search).sql().as_str().to_string()
    }

    #[test]
    fn a_statement_holds_what_was_asked_for() {
        let rest = "limit $1 offset $2";
        assert_eq!(
            sql(&Search::default()),
            format!("select r.id from dag_run r join v on v.id = r.version where true order by r.id asc {rest}")
        );
        let search = Search::default().and(STATE.is("failed")).and(RUN_ID.contains(["a"])).by(CONF.descending());
        let expected = "with m as (select 1) select r.id from dag_run r join v on v.id = r.version left join m on m.run = r.id \
            where true and r.state = $1::text::run_state and r.state = 'failed' and r.run_id ilike any($2) \
            order by m.conf::text desc nulls last, r.id desc limit $3 offset $4";
        assert_eq!(sql(&search), expected);
        let counted = RUNS.counting(&search);
        let expected = "select count(*) from dag_run r where true and r.state = $1::text::run_state and r.state = 'failed' \
            and r.run_id ilike any($2)";
        assert_eq!(counted.sql().as_str(), expected);
    }

    #[test]
    fn a_value_may_stand_in_several_places_and_conditions_of_one_row_stand_together() {
        let at = DateTime::UNIX_EPOCH;
        let search = Search::default()
            .and(STARTED.compare(Compare::AtLeast, at))
            .and(ASSET.contains(["a"]))
            .and(STARTED.compare(Compare::Below, at))
            .and(STATE.any_of(["queued", "failed"]));
        let expected = "where true and exists (select from a where a.name ilike any($1) or a.uri ilike any($2)) \
            and r.state = any($3::text[]::run_state[]) and exists (select from s where s.started_at >= $4 and s.started_at < $5)";
        assert_eq!(RUNS.counting(&search).sql().as_str(), format!("select count(*) from dag_run r {expected}"));
    }
}
