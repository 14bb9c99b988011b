//! Reads and replaces the login in the URL of a Postgres database. The login is before the host or, for a socket, in
//! the query.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All characters except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parts of a database URL.
struct DatabaseUrl<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    /// Parameters other than `user` and `password`.
    query: Vec<&'a str>,
}

impl<'a> DatabaseUrl<'a> {
    fn parse(url: &'a str) -> Option<DatabaseUrl<'a>> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
        let (user, password) = login.map_or((None, None), |login| match login.split_once(':') {
            Some((user, password)) => (Some(user), Some(password)),
            None => (Some(login), None),
        });
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parsed = DatabaseUrl { scheme, user, password, host, path, query: Vec::new() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("user", user)) => parsed.user = Some(user),
                Some(("password", password)) => parsed.password = Some(password),
                _ => parsed.query.push(pair),
            }
        }
        Some(parsed)
    }

    fn with(&self, user: Option<&str>, password: Option<&str>) -> String {
        let (scheme, host, path) = (self.scheme, self.host, self.path);
        let mut query: Vec<String> = self.query.iter().map(ToString::to_string).collect();
        let login = match (user, password) {
            _ if host.is_empty() => {
                query.extend(user.map(|user| format!("user={user}")));
                query.extend(password.map(|password| format!("password={password}")));
                String::new()
            }
            (Some(user), Some(password)) => format!("{user}:{password}@"),
            (Some(user), None) => format!("{user}@"),
            (None, _) => String::new(),
        };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{login}{host}{path}{mark}{}", query.join("&"))
    }
}

/// Returns the URL with another login. Text that is not a URL is returned unchanged.
pub fn with_login(url: &str, user: &str, password: Option<&str>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    DatabaseUrl::parse(url)
        .map_or_else(|| url.into(), |parsed| parsed.with(Some(&encoded(user)), password.map(encoded).as_deref()))
}

/// Returns the URL without its password, and the password. Text that is not a URL is returned unchanged.
pub fn split_password(url: &str) -> (String, Option<String>) {
    let Some(parsed) = DatabaseUrl::parse(url) else { return (url.into(), None) };
    let password = parsed.password.map(|password| percent_decode_str(password).decode_utf8_lossy().into_owned());
    (parsed.with(parsed.user, None), password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_removed_wherever_it_is() {
        let check = |url: &str, bare: &str, password: Option<&str>| {
            assert_eq!(split_password(url), (bare.to_owned(), password.map(String::from)), "{url}");
        };
        check("postgres://orch:s%40cret@db:5432/orch", "postgres://orch@db:5432/orch", Some("s@cret"));
        check("postgres://orch@db/orch?sslmode=require", "postgres://orch@db/orch?sslmode=require", None);
        check("postgres:///orch?host=%2Ftmp&port=5&user=orch", "postgres:///orch?host=%2Ftmp&port=5&user=orch", None);
        check("postgres://db/orch?password=a%26b&user=o", "postgres://o@db/orch", Some("a&b"));
        check("postgres://o:p@db", "postgres://o@db", Some("p"));
        check("no url", "no url", None);
    }

    #[test]
    fn the_login_is_replaced_wherever_it_is() {
        let check = |url: &str, password: Option<&str>, expected: &str| {
            assert_eq!(with_login(url, "tasks@x", password), expected, "{url}");
        };
        let at = "postgres://orch:hush@db:5432/orch?sslmode=require";
        check(at, Some("p/w"), "postgres://tasks%40x:p%2Fw@db:5432/orch?sslmode=require");
        check(at, None, "postgres://tasks%40x@db:5432/orch?sslmode=require");
        check("postgres://db/orch?user=orch&password=hush", Some("p"), "postgres://tasks%40x:p@db/orch");
        check(
            "postgres:///orch?host=%2Ftmp&user=orch",
            Some("p"),
            "postgres:///orch?host=%2Ftmp&user=tasks%40x&password=p",
        );
        check("postgres:///orch?user=orch&password=hush", None, "postgres:///orch?user=tasks%40x");
    }
}
