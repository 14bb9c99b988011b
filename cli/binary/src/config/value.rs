//! Conversion of settings from and to text, for flags, variables, the file and lists.

use orch_core::network::BasePath;
use orch_core::network::Network;
use orch_workers::Programs;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value with a text form. The error of `parse` is what the value must be, as in "is not …".
pub trait Text: Sized {
    /// Placeholder of the value in `--help`.
    const FORM: &'static str;
    const IS_SECRET: bool = false;
    fn parse(text: &str) -> Result<Self, String>;
    /// Returns the value as text, without secrets.
    fn show(&self) -> String;
}

/// A value that lists, logs and errors must not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl Text for Secret {
    const FORM: &'static str = "SECRET";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Secret(text.into()))
    }

    /// Masks only the password if the value is a URL.
    fn show(&self) -> String {
        masked_url(&self.0).unwrap_or_else(|| "***".into())
    }
}

/// Returns `scheme://user:***@rest`, and masks passwords in the query too.
fn masked_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((who, host)) => match who.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let masked = query.split('&').map(|pair| match pair.split_once('=') {
                Some((key, _)) if key.contains("password") => format!("{key}=***"),
                _ => pair.to_owned(),
            });
            format!("{path}?{}", masked.collect::<Vec<_>>().join("&"))
        }
        None => path.to_owned(),
    };
    Some(format!("{scheme}://{authority}{path}"))
}

impl<T: Text> Text for Option<T> {
    const FORM: &'static str = T::FORM;
    const IS_SECRET: bool = T::IS_SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, Text::show)
    }
}

impl Text for String {
    const FORM: &'static str = "TEXT";

    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') { Err("text without NUL characters".into()) } else { Ok(text.into()) }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Text for Vec<String> {
    const FORM: &'static str = "A,B,…";

    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(String::parse).collect()
    }

    fn show(&self) -> String {
        self.join(",")
    }
}

impl Text for Vec<Network> {
    const FORM: &'static str = "A,B,…";

    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks = parts.map(str::parse).collect::<Result<_, String>>();
        networks.map_err(|_| "a list of addresses and networks such as `10.0.0.0/8,192.168.1.5`".into())
    }

    fn show(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Text for Programs {
    const FORM: &'static str = "NAME=PATH,…";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_: String| {
            "a list of programs with their whole paths, such as `pager=/usr/local/bin/page,…`".into()
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for BasePath {
    const FORM: &'static str = "PATH";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_: String| "a path such as `/orch`".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for PathBuf {
    const FORM: &'static str = "FOLDER";

    /// Expands `~` to the home folder, because no shell expands it in files.
    fn parse(text: &str) -> Result<Self, String> {
        let home = || std::env::home_dir().filter(|home| home.is_absolute() && home.as_os_str() != "/");
        match text.strip_prefix("~/") {
            _ if text.is_empty() => Err("a path".into()),
            Some(".local/share/orch") => Ok(orch_cluster::default_data_dir()),
            Some(rest) => {
                home().map(|home| home.join(rest)).ok_or_else(|| "a path here: there is no home folder".into())
            }
            None => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Text for bool {
    const FORM: &'static str = "true|false";

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("`true` or `false`".into()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for SocketAddr {
    const FORM: &'static str = "HOST:PORT";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "an address with a port, such as `127.0.0.1:9464` or `[::1]:9464`".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for u16 {
    const FORM: &'static str = "NUMBER";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a number from 0 to 65535".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for u32 {
    const FORM: &'static str = "NUMBER";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a number from 0 to 4294967295".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for usize {
    const FORM: &'static str = "NUMBER";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a whole number".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Text for Duration {
    const FORM: &'static str = "TIME";

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "a time with a unit such as `500ms`, `30s`, `5m`, `2h` or `90d`".to_owned();
        let unit = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, unit) = text.split_at(unit);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let count: u64 = count.parse().map_err(|_| wrong())?;
        count.checked_mul(*factor).map(Duration::from_millis).ok_or_else(wrong)
    }

    fn show(&self) -> String {
        let ms = self.as_millis();
        let whole = UNITS.iter().find(|(_, factor)| ms > 0 && ms.is_multiple_of(u128::from(*factor)));
        whole.map_or_else(|| "0s".into(), |(unit, factor)| format!("{}{unit}", ms / u128::from(*factor)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Text for LogFormat {
    const FORM: &'static str = "text|json";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("`text` or `json`".into()),
        }
    }

    fn show(&self) -> String {
        match self {
            LogFormat::Text => "text".into(),
            LogFormat::Json => "json".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_with_their_unit() {
        for text in ["500ms", "30s", "5m", "2h", "90d", "1500ms"] {
            assert_eq!(Duration::parse(text).map(|time| time.show()), Ok(text.into()));
        }
        assert_eq!(Duration::parse("60s").map(|time| time.show()), Ok("1m".into()));
        for text in ["", "30", "s", "1.5s", "-1s", "3 s", "99999999999999999999d", "9999999999999999d"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_a_url_only_the_password_is_hidden() {
        let shown = |url: &str| Secret(url.into()).show();
        assert_eq!(shown("postgres://me:geheim@db:5432/orch"), "postgres://me:***@db:5432/orch");
        assert_eq!(shown("postgres://me:a@b:c@db/orch"), "postgres://me:***@db/orch");
        assert_eq!(shown("postgres://me@db/orch?sslmode=require"), "postgres://me@db/orch?sslmode=require");
        assert_eq!(shown("postgres:///orch?host=/x&password=p"), "postgres:///orch?host=/x&password=***");
        assert_eq!(shown("geheim"), "***");
        assert_eq!(format!("{:?}", Secret("geheim".into())), "***");
    }

    #[test]
    fn lists_and_switches_are_lenient_about_spelling() {
        assert_eq!(Vec::parse("a, b,,c "), Ok(vec!["a".to_owned(), "b".into(), "c".into()]));
        assert_eq!((bool::parse("Yes"), bool::parse("0"), bool::parse("maybe").is_err()), (Ok(true), Ok(false), true));
    }
}
