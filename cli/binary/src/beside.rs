//! The bundle beside this process: a binary with DAGs, tables and SQL whose libraries this one does not have.
//!
//! A standalone runs its worker, a web server asks its query processes, and all look for connections in what it brings. What
//! a binary brings itself comes before what its bundle brings.

mod connections;

pub use connections::{TELL_CONNECTIONS, default_connections, tell_connections};

use crate::config::Config;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where its binary is, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub path: PathBuf,
    /// A setting names it; without one it may be absent.
    pub is_named: bool,
}

impl Beside {
    /// The one that was named, or the usual one in the folder of this binary.
    pub fn of(config: &Config) -> Option<Beside> {
        if let Some(path) = &config.bundle {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            return Some(Beside { path, is_named: true });
        }
        let own = std::env::current_exe().ok()?;
        Some(Beside { path: own.parent()?.join(config.bundle_name?), is_named: false })
    }

    /// As people call it.
    pub fn name(&self) -> String {
        name(&self.path)
    }
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| "bundle".into(), |name| name.to_string_lossy().into_owned())
}

/// Time and size of a binary: others after it was built again.
pub type Facts = (SystemTime, u64);

pub fn facts(binary: &Path) -> std::io::Result<Facts> {
    let facts = binary.metadata()?;
    Ok((facts.modified()?, facts.len()))
}
