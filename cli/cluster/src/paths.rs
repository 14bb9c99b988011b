//! The default data folder, and the encoding of paths in connection URLs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Returns `~/.local/share/orch`, which is the same on every system so that documents and scripts can name it. A
/// process without a home folder (some containers) gets `/var/lib/orch`.
pub fn default_data_dir() -> PathBuf {
    match std::env::home_dir() {
        Some(home) if home.is_absolute() && home != Path::new("/") => home.join(".local/share/orch"),
        _ => PathBuf::from("/var/lib/orch"),
    }
}

/// Percent-encodes a path for the query of a URL.
pub(crate) fn encode_for_url(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => encoded.push(*byte as char),
            other => write!(encoded, "%{other:02X}").expect("writing to a string cannot fail"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_and_umlauts_survives_the_url() {
        assert_eq!(encode_for_url(Path::new("/data/über uns?")), "/data/%C3%BCber%20uns%3F");
    }
}
