//! Jars of servers that tests start, fetched by Maven once for each list of them.

use crate::shared::{hex, target};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the jars that a POM names, and with what those need. Test processes that need them at the same time wait
/// for the first.
pub fn jars(what: &str, pom: &str) -> PathBuf {
    jars_with(what, pom, |_| {})
}

/// The same, and beside them what is made of them once, in the folder above.
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

/// Puts what a POM names, and what that needs, into the folder `jars` of a folder. Without Maven the test fails with the
/// command that installs it.
pub(crate) fn fetch_jars(what: &str, pom: &str, folder: &Path) {
    let (path, jars) = (folder.join("pom.xml"), folder.join("jars"));
    std::fs::write(&path, pom).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
    // `-U`: Maven remembers for a day that something was missing.
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

/// Takes these files, or all, out of an archive among the jars of a folder, which goes then.
pub(crate) fn unpack(folder: &Path, archive: &str, files: &[&str]) {
    let archive = folder.join("jars").join(archive);
    let mut tar = Command::new("tar");
    run("tar", tar.arg("-xzf").arg(&archive).arg("-C").arg(folder).arg("--wildcards").args(files));
    std::fs::remove_file(&archive).unwrap_or_else(|error| panic!("cannot remove `{}`: {error}", archive.display()));
}

/// Runs a program that must succeed.
pub(crate) fn run(what: &str, program: &mut Command) {
    let done = program.output().unwrap_or_else(|error| panic!("cannot run {what}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{what} failed:\n{said}");
}
