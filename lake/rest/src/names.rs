//! Parses the names of namespaces and tables in request paths and bodies, and the paging of lists.

use crate::refusal::{Refusal, RestResult};
use orch_lake::TableName;
use serde::{Deserialize, Serialize};

/// Separates the parts of a namespace in a path.
const SEPARATOR: char = '\u{1f}';
/// Default page size for clients that send a page token but no size.
const USUAL: i64 = 1_000;
const MOST: i64 = 10_000;

/// Converts a namespace from its form in a URL path to the catalog's form, in which the parts are joined by periods.
pub(crate) fn namespace(path: &str) -> RestResult<String> {
    joined(&path.split(SEPARATOR).map(str::to_owned).collect::<Vec<_>>())
}

pub(crate) fn joined(parts: &[String]) -> RestResult<String> {
    if parts.is_empty() || parts.iter().any(|part| part.is_empty() || part.contains('.')) {
        return Err(Refusal::input(format!(
            "`{}` is not a valid namespace: its parts must not be empty or contain `.`",
            parts.join(".").escape_debug()
        )));
    }
    let namespace = parts.join(".");
    without_control("namespace", &namespace)?;
    Ok(namespace)
}

/// Rejects texts with control characters. Postgres cannot store NUL, and `TableName` rejects all control characters.
fn without_control(what: &str, text: &str) -> RestResult<()> {
    if text.contains(char::is_control) {
        let text = text.escape_debug();
        return Err(Refusal::input(format!("the {what} `{text}` contains control characters")));
    }
    Ok(())
}

pub(crate) fn parts(namespace: &str) -> Vec<&str> {
    namespace.split('.').collect()
}

pub(crate) fn table(namespace_in_path: &str, name: &str) -> RestResult<TableName> {
    Ok(TableName::new(namespace(namespace_in_path)?, name)?)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identifier {
    pub(crate) namespace: Vec<String>,
    pub(crate) name: String,
}

impl Identifier {
    pub(crate) fn of(name: &TableName) -> Identifier {
        let namespace = parts(name.namespace()).into_iter().map(str::to_owned).collect();
        Identifier { namespace, name: name.name().to_owned() }
    }

    pub(crate) fn table(&self) -> RestResult<TableName> {
        Ok(TableName::new(joined(&self.namespace)?, &self.name)?)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rename {
    pub(crate) source: Identifier,
    pub(crate) destination: Identifier,
}

/// The page of a list that a client requests. A page token is the last name of the previous page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Paging {
    page_token: Option<String>,
    page_size: Option<i64>,
}

impl Paging {
    pub(crate) fn after(&self) -> RestResult<&str> {
        let token = self.page_token.as_deref().unwrap_or_default();
        without_control("page token", token)?;
        Ok(token)
    }

    /// Returns the page size. For clients that do not use paging, it is unlimited.
    pub(crate) fn most(&self) -> RestResult<i64> {
        match (self.page_size, &self.page_token) {
            (Some(size), _) if size < 1 => Err(Refusal::input(format!("pageSize is {size}, and must be 1 or more"))),
            (Some(size), _) => Ok(size.min(MOST)),
            (None, Some(_)) => Ok(USUAL),
            (None, None) => Ok(i64::from(i32::MAX)),
        }
    }

    /// Cuts a list that was read with one name more than the page size. Returns the names of the page and, if there
    /// are more, the token of the next page.
    pub(crate) fn cut<T>(&self, mut names: Vec<T>, last: impl Fn(&T) -> &str) -> RestResult<(Vec<T>, Option<String>)> {
        let most = usize::try_from(self.most()?).unwrap_or(usize::MAX);
        if names.len() <= most {
            return Ok((names, None));
        }
        names.truncate(most);
        let next = names.last().map(|name| last(name).to_owned());
        Ok((names, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_the_token_of_the_next_one() {
        let paging = |token: Option<&str>, size| Paging { page_token: token.map(str::to_owned), page_size: size };
        let cut = |paging: &Paging, many: usize| {
            let names: Vec<String> = ["a", "b", "c"].into_iter().take(many).map(str::to_owned).collect();
            let (names, next) = paging.cut(names, |name| name).ok()?;
            Some((names.join(""), next))
        };
        assert_eq!(cut(&paging(None, None), 3), Some(("abc".into(), None)));
        assert_eq!(cut(&paging(Some(""), Some(2)), 3), Some(("ab".into(), Some("b".into()))));
        assert_eq!(cut(&paging(Some("b"), Some(2)), 1), Some(("a".into(), None)));
        assert_eq!(cut(&paging(None, Some(0)), 1), None);
    }

    #[test]
    fn parts_of_a_namespace_have_no_points() {
        assert_eq!(namespace("prod\u{1f}retail").ok().as_deref(), Some("prod.retail"));
        assert!(namespace("prod.retail").is_err() && namespace("").is_err() && joined(&[]).is_err());
        assert!(namespace("prod\0").is_err() && namespace("prod\u{1f}re\ntail").is_err());
    }
}
