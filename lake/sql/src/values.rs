//! Substitutes `$name` parameters in SQL. Each value becomes a literal token that is generated here, so no value is
//! parsed as SQL. The text of queries that run in Postgres is not changed; `placeholders` returns where parameters
//! occur in it.

use crate::parse::{DIALECT, refused};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use orch_store::lake_view::{LakeError, LakeResult, SqlValue, SqlValues};
use std::ops::Range;

/// An occurrence of a parameter in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// Name of the parameter without `$`.
    pub name: String,
    /// Byte range of the parameter in the statement, including `$`.
    pub range: Range<usize>,
}

/// Returns the parameters of a Postgres statement in order. Text inside strings, comments and quoted identifiers is
/// ignored.
///
/// # Errors
/// Returns an error for an unterminated string or comment.
pub fn placeholders(sql: &str) -> LakeResult<Vec<Placeholder>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| refused(&error.to_string()))?;
    let named = tokens.into_iter().filter_map(|token| match token.token {
        Token::Placeholder(written) => {
            let start = offset(sql, token.span.start)?;
            let name = written.strip_prefix('$')?.to_owned();
            Some(Placeholder { name, range: start..start + written.len() })
        }
        _ => None,
    });
    Ok(named.collect())
}

/// Converts a source location to a byte offset. Lines and columns are counted from 1; columns are counted in
/// characters.
fn offset(sql: &str, at: Location) -> Option<usize> {
    let (line, column) = (usize::try_from(at.line).ok()?, usize::try_from(at.column).ok()?);
    let before: usize = sql.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let (within, _) = sql[before..].char_indices().nth(column - 1)?;
    Some(before + within)
}

/// Replaces parameters by literals. Returns an error if a parameter has no value.
pub(crate) fn with_values(tokens: Vec<Token>, values: &SqlValues) -> LakeResult<Vec<Token>> {
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens {
        match &token {
            Token::Placeholder(placeholder) => {
                let value = placeholder.strip_prefix('$').and_then(|name| values.get(name));
                out.extend(literal(value.ok_or_else(|| no_value(placeholder, values))?)?);
            }
            _ => out.push(token),
        }
    }
    Ok(out)
}

fn no_value(placeholder: &str, values: &SqlValues) -> LakeError {
    let hint = if values.is_empty() {
        "write the value itself; a text is in single quotes".to_owned()
    } else {
        let known: Vec<String> = values.keys().map(|name| format!("`${name}`")).collect();
        format!("write one of {}, or the value itself; a text is in single quotes", known.join(", "))
    };
    refused(&format!("`{placeholder}` has no value\nhint: {hint}"))
}

fn literal(value: &SqlValue) -> LakeResult<Vec<Token>> {
    let written = match value {
        SqlValue::Text(text) => return Ok(vec![Token::SingleQuotedString(text.clone())]),
        SqlValue::Null => "null".into(),
        SqlValue::Boolean(truth) => truth.to_string(),
        // A negative number is written in parentheses, so that `-$x` does not become `--`, which starts a comment.
        SqlValue::Integer(number) if *number < 0 => format!("({number})"),
        SqlValue::Integer(number) => number.to_string(),
        SqlValue::Number(number) => format!("cast('{number:?}' as double)"),
        SqlValue::Date(date) => format!("date '{date}'"),
        SqlValue::Timestamp(at) => format!("timestamp '{}'", at.format("%Y-%m-%d %H:%M:%S%.6f")),
    };
    Tokenizer::new(&DIALECT, &written).tokenize().map_err(|error| refused(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use crate::parse::parse;
    use chrono::NaiveDate;
    use orch_store::lake_view::{SqlValue, SqlValues};

    fn bound(sql: &str, value: SqlValue) -> String {
        let values = SqlValues::from([("v".into(), value)]);
        parse(sql, &values).map_or_else(|error| error.to_string(), |parsed| parsed.statement.to_string())
    }

    #[test]
    fn a_value_is_a_literal_wherever_it_is_named() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        for (value, written) in [
            (SqlValue::Null, "NULL"),
            (SqlValue::Boolean(true), "true"),
            (SqlValue::Integer(7), "7"),
            (SqlValue::Integer(i64::MIN), "(-9223372036854775808)"),
            (SqlValue::Number(0.5), "CAST('0.5' AS DOUBLE)"),
            (SqlValue::Number(1e300), "CAST('1e300' AS DOUBLE)"),
            (SqlValue::Text("it's".into()), "'it''s'"),
            (SqlValue::Text("' or 1 = 1 --".into()), "''' or 1 = 1 --'"),
            (SqlValue::Text("$v".into()), "'$v'"),
            (SqlValue::Date(day), "DATE '2026-11-20'"),
            (SqlValue::Timestamp(day.and_hms_opt(6, 0, 0).unwrap()), "TIMESTAMP '2026-11-20 06:00:00.000000'"),
        ] {
            assert_eq!(bound("select $v", value.clone()), format!("SELECT {written}"), "{value:?}");
        }
        assert_eq!(bound("select 1 limit $v", SqlValue::Integer(5)), "SELECT 1 LIMIT 5");
        assert_eq!(
            bound("select 1 from r.t for version as of $v", SqlValue::Integer(5)),
            r#"SELECT 1 FROM r."t@snapshot:5" AS "t""#
        );
    }

    #[test]
    fn a_name_without_a_value_is_refused() {
        let other = bound("select $other", SqlValue::Null);
        assert!(other.starts_with("`$other` has no value\nhint: write one of `$v`, or the value itself"), "{other}");
        let none = parse("select $other", &SqlValues::new()).unwrap_err().to_string();
        assert!(none.starts_with("`$other` has no value\nhint: write the value itself"), "{none}");
        assert!(bound("select ?", SqlValue::Null).starts_with("`?` has no value"));
    }
}
