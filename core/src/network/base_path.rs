//! The path prefix of a web server behind a proxy that also serves other applications, such as `/orch`.

use std::fmt;
use std::str::FromStr;

/// Empty, or a path such as `/orch` without a trailing slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BasePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.trim_end_matches('/');
        let is_part = |part: &str| {
            let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"_.~-".contains(&byte);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_right)
        };
        if path.is_empty() || path.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_part)) {
            return Ok(BasePath(path.into()));
        }
        Err(format!("`{text}` is not a path such as `/orch`"))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_parts_and_no_slash_at_its_end() {
        for (text, path) in [("", ""), ("/", ""), ("/orch", "/orch"), ("/orch/", "/orch"), ("/a/b-c", "/a/b-c")] {
            assert_eq!(text.parse::<BasePath>().map(|path| path.0), Ok(path.into()), "{text}");
        }
        for wrong in ["orch", "//orch", "/a//b", "/a/../b", "/a b", "/a\"b", "https://x"] {
            assert!(wrong.parse::<BasePath>().is_err(), "{wrong}");
        }
    }
}
