//! Python environments for tests, made once below the target folder. Other requirements are another environment, and
//! test processes that need the same one wait for the first.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::shared::{hex, target};

/// The folder with the programs of an environment that holds these requirements. Without Python or the package index
/// the test fails with the command that makes it.
pub fn venv(name: &str, requirements: &[&str]) -> PathBuf {
    let wanted = requirements.join("\n");
    let folder = target().join("test-venv").join(format!("{name}-{}", &hex(wanted.as_bytes())[..8]));
    let (programs, whole) = (folder.join("bin"), folder.join("installed"));
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make `{}`: {error}", folder.display()));
    let lock = File::create(folder.with_extension("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.unwrap_or_else(|error| panic!("cannot lock `{}`: {error}", folder.display()));
    if !whole.exists() {
        let (folder, packages) = (folder.display(), requirements.join("' '"));
        let install = format!("python3 -m venv --clear {folder} && {folder}/bin/pip install -q '{packages}'");
        let done = Command::new("sh").args(["-c", &install]).output();
        let done = done.unwrap_or_else(|error| panic!("cannot run `sh`: {error}"));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "`{name}` could not be installed\nhint: try `{install}`\n{said}");
        std::fs::write(&whole, wanted).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", whole.display()));
    }
    programs
}
