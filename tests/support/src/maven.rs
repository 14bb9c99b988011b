//! Jars of servers that tests start, fetched by Maven once for each POM.

use crate::shared::{hex, target};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder with the jars that a POM names, and their dependencies. If several test processes need it, the
/// first one fetches them and the others wait.
pub fn jars(what: &str, pom: &str) -> PathBuf {
    jars_with(what, pom, |_| {})
}

/// Like `jars`, but also runs `make` once in the parent folder, to derive other files from the jars.
pub(crate) fn jars_with(what: &str, pom: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = target().join("test-jars").join(format!("{what}-{}", &hex(pom.as_bytes())[..8]));
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make `{}`: {error}", folder.display()));
    let lock = File::create(folder.with_extension("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.unwrap_or_else(|error| panic!("cannot lock `{}`: {error}", folder.display()));
    let whole = folder.join("installed");
    if !whole.exists() {
        fetch_jars(what, pom, &folder);
        make(&folder);
        std::fs::write(&whole, "").unwrap_or_else(|error| panic!("cannot write `{}`: {error}", whole.display()));
    }
    folder.join("jars")
}

/// Fetches the jars that a POM names, and their dependencies, into the subfolder `jars`. Without Maven the test fails
/// with the command that installs it.
pub(crate) fn fetch_jars(what: &str, pom: &str, folder: &Path) {
    let (path, jars) = (folder.join("pom.xml"), folder.join("jars"));
    std::fs::write(&path, pom).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
    // `-U`: Maven caches for a day that an artifact was missing.
    let install = format!(
        "mvn -q -B -U -f '{}' dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory='{}'",
        path.display(),
        jars.display()
    );
    let done = Command::new("sh").args(["-c", &install]).output().expect("a shell can be started");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(
        done.status.success(),
        "{what} could not be installed\nhint: run `scripts/setup.sh test` (or `apt-get install default-jre-headless maven`), \
         then try `{install}`\n{said}"
    );
}

/// Extracts these files, or all, from an archive among the jars of a folder, then removes the archive.
pub(crate) fn unpack(folder: &Path, archive: &str, files: &[&str]) {
    let archive = folder.join("jars").join(archive);
    let mut tar = Command::new("tar");
    run("tar", tar.arg("-xzf").arg(&archive).arg("-C").arg(folder).arg("--wildcards").args(files));
    std::fs::remove_file(&archive).unwrap_or_else(|error| panic!("cannot remove `{}`: {error}", archive.display()));
}

/// Runs a program and panics if it fails.
pub(crate) fn run(what: &str, program: &mut Command) {
    let done = program.output().unwrap_or_else(|error| panic!("cannot run {what}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{what} failed:\n{said}");
}
