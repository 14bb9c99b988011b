//! Python environments for tests, created once below the target folder. Other requirements use another environment. If
//! several test processes need the same one, the first one creates it and the others wait.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shared::{hex, target};

/// Packages with which Python tests read and compute data. DuckDB is the newest version whose extensions are packages,
/// and the Spark Connect client the newest that Sail supports.
const DATA: [&str; 17] = [
    "duckdb==1.5.5",
    "duckdb-extension-avro==1.5.5",
    "duckdb-extension-httpfs==1.5.5",
    "duckdb-extension-iceberg==1.5.5",
    "httpx==0.28.1",
    "mypy==2.4.1",
    "pandas==3.1.1",
    "polars==2.1.0",
    "psycopg[binary]==3.3.9",
    "pyarrow==26.0.1",
    "pyiceberg-core==0.11.0",
    "pyiceberg[sql-postgres,pyarrow]==0.12.0",
    "pysail==0.7.2",
    "pyspark-client==4.2.0",
    "pytest==9.2.0",
    "ruff==0.17.6",
    "sqlalchemy==2.1.9",
];

/// Returns the Python of all tests that check data. They share one environment because of its size.
pub fn data_python() -> PathBuf {
    venv("data", &DATA).join("python")
}

/// Returns the folder with the programs of an environment with these requirements. Without Python or the package index,
/// the test fails with the command that creates it.
pub fn venv(name: &str, requirements: &[&str]) -> PathBuf {
    let wanted = requirements.join("\n");
    let folder = target().join("test-venv").join(format!("{name}-{}", &hex(wanted.as_bytes())[..8]));
    let (programs, whole) = (folder.join("bin"), folder.join("installed"));
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make `{}`: {error}", folder.display()));
    let lock = File::create(folder.with_extension("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.unwrap_or_else(|error| panic!("cannot lock `{}`: {error}", folder.display()));
    if !whole.exists() {
        let (folder, packages) = (folder.display(), requirements.join("' '"));
        let install =
            format!("python3 -m venv --clear {folder} && {folder}/bin/pip install -q --no-compile '{packages}'");
        let done = Command::new("sh").args(["-c", &install]).output();
        let done = done.unwrap_or_else(|error| panic!("cannot run `sh`: {error}"));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "`{name}` could not be installed\nhint: try `{install}`\n{said}");
        std::fs::write(&whole, wanted).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", whole.display()));
    }
    programs
}

/// Returns the folder of an installed package.
pub(crate) fn package_of(programs: &Path, package: &str) -> PathBuf {
    let lib = programs.with_file_name("lib");
    let found = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut found = found.map(|python| python.path().join("site-packages").join(package)).filter(|home| home.is_dir());
    found.next().unwrap_or_else(|| panic!("there is no `{package}` below `{}`", lib.display()))
}
