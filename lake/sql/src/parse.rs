//! Parses a SQL text into one read-only statement. Time travel clauses are rewritten to table names.
//!
//! `orders for version as of 123` becomes the table `"orders@snapshot:123"`, and `orders for timestamp as of '…'`
//! becomes `"orders@time:…"`. For branches and tags, users write `"orders@tag"` themselves. No dialect of the SQL
//! parser supports all of this syntax, so it is replaced in the tokens before parsing.

use crate::bounds::{check_depth, check_size};
use crate::shown::{is_catalogs, listing};
use crate::values::with_values;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Word};
use orch_store::lake_view::{LakeError, LakeResult, SqlValues};
use std::ops::ControlFlow;

pub(crate) const DIALECT: GenericDialect = GenericDialect {};

#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    /// Namespace whose tables the statement lists. It must exist.
    pub(crate) namespace: Option<String>,
}

/// Parses one read-only statement. Rejects texts with several statements, and statements that write.
pub(crate) fn parse(sql: &str, values: &SqlValues) -> LakeResult<Parsed> {
    let statement = parse_one(sql, values)?;
    match listing(&statement)? {
        Some(listing) => Ok(Parsed { statement: parse_one(&listing.query, values)?, namespace: listing.namespace }),
        None => Ok(Parsed { statement, namespace: None }),
    }
}

/// Parses a statement without parameters.
#[cfg(test)]
pub(crate) fn parse_alone(sql: &str) -> LakeResult<Parsed> {
    parse(sql, &SqlValues::new())
}

fn parse_one(sql: &str, values: &SqlValues) -> LakeResult<Statement> {
    let tokens = Tokenizer::new(&DIALECT, sql).tokenize().map_err(|error| refused(&error.to_string()))?;
    let tokens = with_versions(&with_values(tokens, values)?)?;
    check_first_word(&tokens)?;
    check_depth(&tokens)?;
    let statements = Parser::new(&DIALECT).with_tokens(tokens).parse_statements();
    let mut statements = statements.map_err(|error| unreadable(&error))?;
    if statements.len() > 1 {
        return Err(refused("there are several statements\nhint: send them one by one"));
    }
    let mut statement = statements.pop().ok_or_else(|| refused("there is no SQL to run"))?;
    check_reads(&mut statement)?;
    check_size(&statement)?;
    Ok(statement)
}

fn unreadable(error: &ParserError) -> LakeError {
    match error {
        ParserError::RecursionLimitExceeded => refused(
            "the query is nested too deeply\nhint: name its parts with `with name as (select …)`, or take out brackets",
        ),
        error => refused(&error.to_string()),
    }
}

pub(crate) fn refused(text: &str) -> LakeError {
    let text = text.strip_prefix("sql parser error: ").unwrap_or(text);
    LakeError::Refused(text.to_string())
}

/// Keywords with which read-only statements start.
const READING: [Keyword; 8] = [
    Keyword::SELECT,
    Keyword::WITH,
    Keyword::VALUES,
    Keyword::EXPLAIN,
    Keyword::SHOW,
    Keyword::DESCRIBE,
    Keyword::DESC,
    Keyword::TABLE,
];

/// Rejects statements that write before they are parsed. Otherwise, the parser would report a less helpful error for
/// write statements that it does not support.
fn check_first_word(tokens: &[Token]) -> LakeResult<()> {
    let first = tokens.iter().find(|token| !matches!(token, Token::Whitespace(_)));
    match first {
        Some(Token::Word(word)) if !READING.contains(&word.keyword) => Err(only_reads(&word.value)),
        _ => Ok(()),
    }
}

fn only_reads(what: &str) -> LakeError {
    LakeError::Refused(format!(
        "`{}` is refused: SQL may only read here\nhint: write `select`, `explain`, `show` or `describe`; tasks \
         write tables",
        what.to_lowercase()
    ))
}

fn check_reads(statement: &mut Statement) -> LakeResult<()> {
    match statement {
        Statement::Query(_)
        | Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowSchemas { .. }
        | Statement::ShowDatabases { .. }
        | Statement::ShowColumns { .. } => {}
        Statement::ShowVariable { variable } if is_catalogs(variable) => {}
        Statement::Explain { statement, .. } => match statement.as_ref() {
            Statement::Query(_) => {}
            other => return Err(only_reads(&first_word(other))),
        },
        other => return Err(only_reads(&first_word(other))),
    }
    match statement.visit(&mut OnlyReads) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(only_reads(&what)),
    }
}

fn first_word(statement: &Statement) -> String {
    statement.to_string().split_whitespace().next().unwrap_or_default().to_string()
}

/// Visitor that rejects writes inside a query: `with x as (insert …)`, `select … into …`, `… for update`.
struct OnlyReads;

impl VisitorMut for OnlyReads {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        if !query.locks.is_empty() {
            return ControlFlow::Break("for update".into());
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) => ControlFlow::Break("insert".into()),
            SetExpr::Update(_) => ControlFlow::Break("update".into()),
            SetExpr::Delete(_) => ControlFlow::Break("delete".into()),
            SetExpr::Merge(_) => ControlFlow::Break("merge".into()),
            SetExpr::Select(select) if select.into.is_some() => ControlFlow::Break("select into".into()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Removes time travel clauses from the tokens, and appends the version to the preceding table name.
fn with_versions(tokens: &[Token]) -> LakeResult<Vec<Token>> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut rest = Cursor { tokens, at: 0 };
    while rest.at < tokens.len() {
        let Some(version) = rest.version()? else {
            out.push(tokens[rest.at].clone());
            rest.at += 1;
            continue;
        };
        let name = out.iter_mut().rev().find(|token| !matches!(token, Token::Whitespace(_)));
        let Some(Token::Word(word)) = name else {
            return Err(refused(
                "`as of` stands behind no table\nhint: write `from namespace.table for version as of 123`",
            ));
        };
        let plain = if word.quote_style.is_none() { word.value.to_lowercase() } else { word.value.clone() };
        *word = quoted(&format!("{plain}@{version}"));
        if !rest.has_alias() {
            // The alias lets the query refer to columns by the original table name.
            out.extend([Token::make_keyword("AS"), Token::Word(quoted(&plain))]);
        }
    }
    Ok(out)
}

fn quoted(name: &str) -> Word {
    Word { value: name.to_string(), quote_style: Some('"'), keyword: Keyword::NoKeyword }
}

struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Cursor<'_> {
    /// Returns the first token at index `at` or later that is not white space, with its index.
    fn next_from(&self, mut at: usize) -> Option<(usize, &Token)> {
        while let Some(token) = self.tokens.get(at) {
            if !matches!(token, Token::Whitespace(_)) {
                return Some((at, token));
            }
            at += 1;
        }
        None
    }

    /// If the keywords follow at index `at`, returns the index after them.
    fn keywords(&self, mut at: usize, words: &[Keyword]) -> Option<usize> {
        for wanted in words {
            match self.next_from(at) {
                Some((place, Token::Word(word))) if word.keyword == *wanted => at = place + 1,
                _ => return None,
            }
        }
        Some(at)
    }

    /// Parses a time travel clause at the current token and moves past it.
    fn version(&mut self) -> LakeResult<Option<String>> {
        const AS_OF: [Keyword; 2] = [Keyword::AS, Keyword::OF];
        if !matches!(self.tokens.get(self.at), Some(Token::Word(_))) {
            return Ok(None);
        }
        let begin = self.keywords(self.at, &[Keyword::FOR]).unwrap_or(self.at);
        let found = [(Keyword::VERSION, true), (Keyword::TIMESTAMP, false), (Keyword::SYSTEM_TIME, false)]
            .into_iter()
            .find_map(|(word, by_version)| Some((self.keywords(begin, &[word, AS_OF[0], AS_OF[1]])?, by_version)));
        let Some((mut end, by_version)) = found else { return Ok(None) };
        if !by_version && let Some(typed) = self.keywords(end, &[Keyword::TIMESTAMP]) {
            end = typed;
        }
        let (place, version) = match self.next_from(end) {
            Some((place, Token::Number(digits, _))) if by_version => (place, format!("snapshot:{digits}")),
            Some((place, Token::SingleQuotedString(name))) if by_version => (place, name.clone()),
            Some((place, Token::SingleQuotedString(time))) => (place, format!("time:{time}")),
            _ if by_version => {
                return Err(refused(
                    "`version as of` needs a snapshot's number, or the name of a branch or tag as text",
                ));
            }
            _ => return Err(refused("`timestamp as of` needs a time as text: '2026-11-20 06:00:00'")),
        };
        self.at = place + 1;
        Ok(Some(version))
    }

    /// Returns true if the next tokens are a table alias.
    fn has_alias(&self) -> bool {
        match self.next_from(self.at) {
            Some((_, Token::Word(word))) => {
                word.keyword == Keyword::AS || !RESERVED_FOR_TABLE_ALIAS.contains(&word.keyword)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_alone as parse;

    #[test]
    fn time_travel_becomes_part_of_the_name() {
        for (sql, read) in [
            ("select 1", "SELECT 1"),
            (
                "select x from retail.orders for version as of 123 where x > 1",
                r#"SELECT x FROM retail."orders@snapshot:123" AS "orders" WHERE x > 1"#,
            ),
            ("select o.x from r.Orders VERSION AS OF 5 o", r#"SELECT o.x FROM r."orders@snapshot:5" o"#),
            ("select 1 from r.t for version as of 'audit'", r#"SELECT 1 FROM r."t@audit" AS "t""#),
            (
                "select 1 from r.t for timestamp as of '2026-11-20 06:00:00' as x join r.u on true",
                r#"SELECT 1 FROM r."t@time:2026-11-20 06:00:00" AS x JOIN r.u ON true"#,
            ),
            (
                "select 1 from r.\"T\" for system_time as of timestamp '2026-11-20' limit 1",
                r#"SELECT 1 FROM r."T@time:2026-11-20" AS "T" LIMIT 1"#,
            ),
            ("select version, timestamp from r.t", "SELECT version, timestamp FROM r.t"),
            ("select 'a for version as of 1' -- for version as of 2", "SELECT 'a for version as of 1'"),
        ] {
            let statement = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).statement.to_string();
            let normal = |text: &str| text.replace(" AS o", " o");
            assert_eq!(normal(&statement), normal(read), "{sql}");
        }
    }

    #[test]
    fn whatever_would_change_something_is_refused_with_a_hint() {
        for (sql, what) in [
            ("insert into retail.t values (1)", "insert"),
            ("delete from retail.t", "delete"),
            ("update retail.t set x = 1", "update"),
            ("drop table retail.t", "drop"),
            ("create table x as select 1", "create"),
            ("create external table x stored as csv location '/etc/passwd'", "create"),
            ("copy retail.t to '/tmp/x.csv'", "copy"),
            ("explain delete from retail.t", "delete"),
            ("explain analyze insert into retail.t select 1", "insert"),
            ("with x as (insert into t values (1) returning *) select * from x", "insert"),
            ("select * into x from retail.t", "select into"),
            ("select * from retail.t for update", "for update"),
            ("set datafusion.execution.batch_size = 1", "set"),
            ("begin", "begin"),
            ("truncate table retail.t", "truncate"),
            ("vacuum", "vacuum"),
        ] {
            let error = parse(sql).expect_err(sql).to_string();
            assert!(error.starts_with(&format!("`{what}` is refused")) && error.contains("\nhint: "), "{sql}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (sql, words) in [
            ("", "no SQL"),
            ("  -- nothing", "no SQL"),
            ("select 1; select 2", "several statements"),
            ("select 1 from", "Expected"),
            ("select 'open", "Unterminated"),
            ("select 1 for version as of x", "needs a snapshot"),
            ("select 1 from t for timestamp as of 5", "needs a time"),
        ] {
            let error = parse(sql).expect_err(sql).to_string();
            assert!(error.contains(words), "{sql}: {error}");
        }
    }

    #[test]
    fn reading_statements_are_let_through() {
        for sql in [
            "select 1;",
            "with x as (select 1) select * from x",
            "values (1, 2)",
            "(select 1) union all (select 2)",
            "explain select * from retail.t",
            "explain analyze select * from retail.t",
            "show tables",
            "show columns from retail.t",
            "describe retail.t",
            "desc retail.t",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql));
        }
    }
}
