//! Determines what the result of a query depends on: tables, and functions such as `now()` whose values change
//! independently of the tables.

use crate::parse::{parse, refused};
use crate::shown::{ALIAS, CATALOG};
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Statement, Visit as _, Visitor};
use orch_lake::TableName;
use orch_store::lake_view::{LakeResult, SqlValues};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// The dependencies of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    pub tables: BTreeSet<TableName>,
    /// Name of a nondeterministic function that the query uses. `None` if it uses none.
    pub changing: Option<String>,
}

const CHANGING: [&str; 9] =
    ["current_date", "current_time", "current_timestamp", "localtimestamp", "now", "rand", "random", "today", "uuid"];

/// Returns the dependencies of a `select`. Each table name must include a namespace, because the meaning of an
/// unqualified name depends on which other tables exist.
///
/// # Errors
/// Returns an error if the text is not a valid `select`, or a table name has no namespace.
pub fn reads_of(sql: &str, values: &SqlValues) -> LakeResult<Reads> {
    let statement = parse(sql, values)?.statement;
    if !matches!(statement, Statement::Query(_)) {
        return Err(refused("only a `select` answers with rows of tables"));
    }
    let mut named = Named::default();
    if let ControlFlow::Break(unqualified) = statement.visit(&mut named) {
        return Err(refused(&format!("`{unqualified}` has no namespace\nhint: write `namespace.{unqualified}`")));
    }
    Ok(Reads { tables: named.tables, changing: named.changing })
}

#[derive(Default)]
struct Named {
    /// Names of the common table expressions of each query being visited, outermost first.
    defined: Vec<BTreeSet<String>>,
    tables: BTreeSet<TableName>,
    changing: Option<String>,
}

impl Visitor for Named {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let defined = query.with.iter().flat_map(|with| &with.cte_tables);
        self.defined.push(defined.map(|defined| plain(&defined.alias.name.to_string())).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        self.defined.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        if let Expr::Function(call) = expr {
            let name = call.name.to_string().to_lowercase();
            self.changing = self.changing.take().or_else(|| CHANGING.contains(&name.as_str()).then_some(name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        let mut parts: Vec<String> = relation.0.iter().map(|part| plain(&part.to_string())).collect();
        if parts.len() == 3 && [ALIAS, CATALOG].contains(&parts[0].as_str()) {
            parts.remove(0);
        }
        match parts.as_slice() {
            [one] if self.defined.iter().any(|defined| defined.contains(one)) => ControlFlow::Continue(()),
            [namespace, name] => {
                // A metadata table or an older version of a table changes only if the table changes.
                let name = name.split(['@', '$']).next().unwrap_or_default();
                match TableName::new(namespace, name) {
                    Ok(table) => {
                        self.tables.insert(table);
                        ControlFlow::Continue(())
                    }
                    Err(_) => ControlFlow::Break(relation.to_string()),
                }
            }
            _ => ControlFlow::Break(relation.to_string()),
        }
    }
}

/// Converts a name to lower case unless it is quoted.
fn plain(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(sql: &str) -> Result<Vec<String>, String> {
        let found = reads_of(sql, &SqlValues::new()).map_err(|error| error.to_string())?;
        Ok(found.tables.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_table_is_found_wherever_it_is_named() {
        for (sql, named) in [
            ("select 1", vec![]),
            ("select * from a.t join b.u using (id)", vec!["a.t", "b.u"]),
            ("select (select max(x) from a.t) from B.U where id in (select id from c.v)", vec!["a.t", "b.u", "c.v"]),
            ("with t as (select * from a.t), u as (select * from t) select * from u, b.u", vec!["a.t", "b.u"]),
            (
                r#"select * from iceberg.a."t$files", a."t@tag" union all select * from a.t for version as of 5"#,
                vec!["a.t"],
            ),
        ] {
            assert_eq!(tables(sql), Ok(named.into_iter().map(str::to_owned).collect()), "{sql}");
        }
    }

    #[test]
    fn what_changes_without_a_table_is_found() {
        for (sql, changing) in [
            ("select max(day) from a.t", None),
            ("select * from a.t where day > current_date - interval '7 days'", Some("current_date")),
            ("select * from a.t where at > (select Now())", Some("now")),
            ("select now from a.t order by random()", Some("random")),
        ] {
            assert_eq!(reads_of(sql, &SqlValues::new()).unwrap().changing.as_deref(), changing, "{sql}");
        }
    }

    #[test]
    fn a_table_has_to_say_its_namespace() {
        assert!(tables("select * from t").unwrap_err().starts_with("`t` has no namespace"));
        // A common table expression is not visible outside its query.
        let outside = "select * from (with t as (select 1 as x) select * from t) s, t";
        assert!(tables(outside).unwrap_err().starts_with("`t` has no namespace"));
        assert!(tables("show tables").unwrap_err().contains("select"));
    }
}
