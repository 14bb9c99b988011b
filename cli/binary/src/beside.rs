//! The bundle beside this process: a separate binary with DAGs, tables and SQL, which links libraries that this binary
//! does not link.
//!
//! `orch standalone` runs a worker of the bundle, a web server starts its query processes, and both use its default
//! connections. Definitions of this binary take precedence over definitions of the bundle.

mod connections;

pub use connections::{TELL_CONNECTIONS, default_connections, tell_connections};

use crate::config::Config;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Path of a bundle binary. The file may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub path: PathBuf,
    /// True if a setting names the path. The default path may be missing without an error.
    pub is_named: bool,
}

impl Beside {
    /// Returns the bundle that a setting names, otherwise the default one in the folder of this binary.
    pub fn of(config: &Config) -> Option<Beside> {
        if let Some(path) = &config.bundle {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            return Some(Beside { path, is_named: true });
        }
        let own = std::env::current_exe().ok()?;
        Some(Beside { path: own.parent()?.join(config.bundle_name?), is_named: false })
    }

    /// Returns the file name of the binary, for messages.
    pub fn name(&self) -> String {
        name(&self.path)
    }
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| "bundle".into(), |name| name.to_string_lossy().into_owned())
}

/// Modification time and size in bytes, which change when a binary is rebuilt.
pub type Facts = (SystemTime, u64);

pub fn facts(binary: &Path) -> std::io::Result<Facts> {
    let facts = binary.metadata()?;
    Ok((facts.modified()?, facts.len()))
}
