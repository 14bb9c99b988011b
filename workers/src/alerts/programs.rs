//! Programs that alerts may start. Only the settings of the process can add programs. A connection only selects one of
//! them by name, so users who can edit connections cannot run arbitrary commands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Program paths by name. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    pub(super) fn get(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }
}

/// Parses a setting such as `pager=/usr/local/bin/page,chat=/opt/tell`.
impl FromStr for Programs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut programs = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || format!("`{part}` is not `name=/path/of/a/program`");
            let (name, path) = part.split_once('=').ok_or_else(wrong)?;
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
            if !is_name || !path.starts_with('/') || programs.insert(name.into(), path.into()).is_some() {
                return Err(wrong());
            }
        }
        Ok(Programs(programs))
    }
}

impl fmt::Display for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_with_their_whole_path() {
        let programs: Programs = "pager=/bin/page, chat=/opt/tell".parse().expect("two programs");
        assert_eq!(programs.get("pager"), Some(Path::new("/bin/page")));
        assert_eq!(programs.to_string(), "chat=/opt/tell,pager=/bin/page");
        assert_eq!((programs.get("/bin/page"), programs.get("")), (None, None));
        assert_eq!("".parse(), Ok(Programs::default()));
        for wrong in ["pager", "pager=page", "=/bin/page", "a/b=/bin/page", "a=/x,a=/y"] {
            assert!(wrong.parse::<Programs>().is_err(), "{wrong}");
        }
    }
}
