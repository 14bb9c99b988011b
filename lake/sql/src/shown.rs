//! Supports `show catalogs`, `show schemas` and `show tables from …` as in Trino and Athena. They are rewritten to
//! queries over `information_schema` with the column names of these engines.

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementIn, ShowStatementOptions,
    Statement,
};
use orch_store::lake_view::{LakeError, LakeResult};

/// Name of the lake's catalog in `information_schema`.
pub(crate) const CATALOG: &str = "lake";
/// Alias of the lake's catalog, for queries that were written for Trino.
pub(crate) const ALIAS: &str = "iceberg";

/// The query that replaces a `show` statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) query: String,
    /// The namespace that is listed. It must exist.
    pub(crate) namespace: Option<String>,
}

/// Rewrites a `show` statement to a query. Returns `None` if the planner supports the statement without rewriting.
pub(crate) fn listing(statement: &Statement) -> LakeResult<Option<Listing>> {
    match statement {
        Statement::ShowVariable { variable } if is_catalogs(variable) => {
            let query = format!(r#"select * from (values ('{ALIAS}'), ('{CATALOG}')) as catalogs ("Catalog")"#);
            Ok(Some(Listing { query, namespace: None }))
        }
        Statement::ShowSchemas { show_options, .. } | Statement::ShowDatabases { show_options, .. } => {
            match within(show_options)?.as_slice() {
                [] => {}
                [catalog] => check_catalog(catalog)?,
                _ => return Err(refused("schemas are in a catalog", "write `show schemas from iceberg`")),
            }
            let query = format!(
                r#"select schema_name as "Schema" from information_schema.schemata where {} order by 1"#,
                like("schema_name", show_options)?
            );
            Ok(Some(Listing { query, namespace: None }))
        }
        Statement::ShowTables { show_options, .. } => tables(show_options),
        _ => Ok(None),
    }
}

pub(crate) fn is_catalogs(variable: &[Ident]) -> bool {
    matches!(variable, [word] if word.value.eq_ignore_ascii_case("catalogs"))
}

fn tables(options: &ShowStatementOptions) -> LakeResult<Option<Listing>> {
    let namespace = match within(options)?.as_slice() {
        [] if options.filter_position.is_none() => return Ok(None),
        [] => {
            let query = format!("select * from information_schema.tables where {}", like("table_name", options)?);
            return Ok(Some(Listing { query, namespace: None }));
        }
        [namespace] => namespace.clone(),
        [catalog, namespace] => {
            check_catalog(catalog)?;
            namespace.clone()
        }
        _ => return Err(refused("tables are in a schema", "write `show tables from iceberg.default`")),
    };
    let query = format!(
        r#"select table_name as "Table" from information_schema.tables where table_schema = {} and {} order by 1"#,
        text(&namespace),
        like("table_name", options)?
    );
    Ok(Some(Listing { query, namespace: Some(namespace) }))
}

/// Returns the parts of the name after `from` or `in`. Unquoted parts are converted to lower case.
fn within(options: &ShowStatementOptions) -> LakeResult<Vec<String>> {
    if options.starts_with.is_some() || options.limit.is_some() || options.limit_from.is_some() {
        return Err(refused("`starts with` and `limit` are not known here", "write `like 'a%'`"));
    }
    match &options.show_in {
        None => Ok(Vec::new()),
        Some(ShowStatementIn { parent_name: Some(ObjectName(parts)), .. }) => {
            let folded = |ident: &Ident| match ident.quote_style {
                Some(_) => ident.value.clone(),
                None => ident.value.to_lowercase(),
            };
            Ok(parts.iter().filter_map(|part| part.as_ident()).map(folded).collect())
        }
        Some(_) => Err(refused("`from` needs a name", "write `show tables from iceberg.default`")),
    }
}

fn check_catalog(name: &str) -> LakeResult<()> {
    if [CATALOG, ALIAS].contains(&name) {
        return Ok(());
    }
    let hint = format!("it is called `{ALIAS}` or `{CATALOG}`");
    Err(LakeError::NotFound(format!("there is no catalog `{name}`\nhint: {hint}")))
}

fn like(column: &str, options: &ShowStatementOptions) -> LakeResult<String> {
    use ShowStatementFilter::{ILike, Like, NoKeyword, Where};
    let Some(ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter)) =
        &options.filter_position
    else {
        return Ok("true".into());
    };
    match filter {
        Like(pattern) | NoKeyword(pattern) => Ok(format!("{column} like {}", text(pattern))),
        ILike(pattern) => Ok(format!("{column} ilike {}", text(pattern))),
        Where(_) => Err(refused("`where` is not known here", "select from `information_schema.tables`")),
    }
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn refused(what: &str, hint: &str) -> LakeError {
    LakeError::Refused(format!("{what}\nhint: {hint}"))
}

#[cfg(test)]
mod tests {
    use crate::parse::parse_alone as parse;

    #[test]
    fn lists_are_queries_with_the_columns_of_trino() {
        for (sql, query, namespace) in [
            ("SHOW CATALOGS", r#"SELECT * FROM (VALUES ('iceberg'), ('lake')) AS catalogs ("Catalog")"#, None),
            (
                "show schemas from iceberg like 'd%'",
                r#"SELECT schema_name AS "Schema" FROM information_schema.schemata WHERE schema_name LIKE 'd%' ORDER BY 1"#,
                None,
            ),
            (
                "SHOW TABLES FROM iceberg.Default",
                r#"SELECT table_name AS "Table" FROM information_schema.tables WHERE table_schema = 'default' AND true ORDER BY 1"#,
                Some("default"),
            ),
            (
                "show tables in \"It's\"",
                r#"SELECT table_name AS "Table" FROM information_schema.tables WHERE table_schema = 'It''s' AND true ORDER BY 1"#,
                Some("It's"),
            ),
            ("show tables", "SHOW TABLES", None),
        ] {
            let parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(
                (parsed.statement.to_string().as_str(), parsed.namespace.as_deref()),
                (query, namespace),
                "{sql}"
            );
        }
    }

    #[test]
    fn what_has_no_list_is_refused_with_a_hint() {
        for (sql, words) in [
            ("show schemas from hive", "there is no catalog `hive`"),
            ("show tables from hive.default", "there is no catalog `hive`"),
            ("show schemas from iceberg.default", "schemas are in a catalog"),
            ("show tables from a.b.c", "tables are in a schema"),
            ("show tables from iceberg.default limit 1", "`limit`"),
            ("show schemas where true", "`where` is not known"),
            ("show create table x", "`show` is refused"),
            ("show all", "`show` is refused"),
        ] {
            let error = parse(sql).expect_err(sql).to_string();
            assert!(error.contains(words) && error.contains("\nhint: "), "{sql}: {error}");
        }
    }
}
