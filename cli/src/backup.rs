//! Backups and restores of the metadata with `pg_dump` and `pg_restore`. They get the database by environment
//! variables, because every user of the machine can read command lines.

use orch_binary::failure::Failure;
use orch_binary::output::{counted, with_progress};
use orch_binary::session::Session;
use orch_sdk::task::Connection;
use orch_store::backup::{OtherSchema, SCHEMAS, server_major};
use orch_store::connect;
use sqlx::postgres::PgSslMode;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Variables of the user that would connect the programs to another database.
const FOREIGN: [&str; 4] = ["PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGHOSTADDR"];

/// Runs the programs for the database of a session.
pub(crate) struct Copier {
    major: u32,
    /// Environment variables that select the database.
    variables: Vec<(&'static str, String)>,
}

/// Versions of the schema in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) version: i32,
    pub(crate) min_binary: i32,
}

impl Copier {
    pub(crate) async fn new(session: &mut Session) -> Result<Copier, Failure> {
        Ok(Copier { major: server_major(&mut session.db).await?, variables: variables(&session.url)? })
    }

    fn command(&self, program: &'static str) -> Result<Command, Failure> {
        let mut command = Command::new(orch_cluster::client_program(program, self.major)?);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// Writes a backup that only its owner may read. It contains orch's schemas and those in `more`, in a consistent
    /// snapshot of the database. Writes to a temporary file and renames it, so the file is complete or missing.
    pub(crate) async fn dump(&self, path: &Path, more: &[String]) -> Result<u64, Failure> {
        let unfinished = beside(path, "unfinished");
        let failed = || Failure::io(format!("cannot write `{}`", unfinished.display()));
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
        let file = file.map_err(failed())?;
        let out = file.try_clone().map_err(failed())?;
        let mut command = self.command("pg_dump")?;
        command.args(["--format=custom", "--no-owner", "--no-privileges"]);
        command.args(SCHEMAS.map(|schema| format!("--schema={schema}")));
        command.args(more.iter().map(|schema| format!("--schema={}", exactly(schema)))).stdout(out);
        let so_far = |took: Duration| {
            let bytes = std::fs::metadata(&unfinished).map_or(0, |facts| facts.len());
            format!("writing `{}`: {:.1} MB, {} s", path.display(), bytes as f64 / 1e6, took.as_secs())
        };
        let done = match with_progress(run_program(&mut command), so_far).await {
            Ok(_) => file.sync_all().and_then(|()| std::fs::rename(&unfinished, path)).map_err(failed()),
            Err(failure) => Err(failure),
        };
        if done.is_err()
            && let Err(error) = std::fs::remove_file(&unfinished)
        {
            tracing::debug!(%error, "an unfinished backup could not be removed");
        }
        done?;
        path.metadata().map(|facts| facts.len()).map_err(Failure::io(format!("cannot read `{}`", path.display())))
    }

    /// Reads the schema versions from a backup.
    pub(crate) async fn label(&self, path: &Path) -> Result<Label, Failure> {
        let mut command = self.command("pg_restore")?;
        command.args(["--data-only", "--table=schema_guard", "--file=-"]).arg(path).stdout(Stdio::piped());
        let said = run_program(&mut command).await?;
        label(&said).ok_or_else(|| {
            Failure::new(format!("`{}` is no backup of orch", path.display())).hint("`orch db backup FILE` writes one")
        })
    }

    /// Returns the schemas in a backup, orch's first.
    pub(crate) async fn schemas(&self, path: &Path) -> Result<Vec<String>, Failure> {
        let mut schemas = SCHEMAS.map(String::from).to_vec();
        schemas.extend(named(&self.list(path).await?).filter(|name| !SCHEMAS.contains(name)).map(String::from));
        Ok(schemas)
    }

    async fn list(&self, path: &Path) -> Result<String, Failure> {
        let mut list = self.command("pg_restore")?;
        list.arg("--list").arg(path).stdout(Stdio::piped());
        run_program(&mut list).await
    }

    /// Restores a backup in a single transaction. The schema `public` must exist and be empty.
    pub(crate) async fn restore(&self, path: &Path) -> Result<(), Failure> {
        let chosen = chosen(&self.list(path).await?);
        let mut file =
            tempfile::NamedTempFile::new().map_err(Failure::io("cannot write a list of what is restored"))?;
        file.write_all(chosen.as_bytes()).map_err(Failure::io("cannot write a list of what is restored"))?;
        let mut command = self.command("pg_restore")?;
        command.args(["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", "--use-list"]);
        command.arg(file.path()).arg(format!("--dbname={}", self.database())).arg(path).stdout(Stdio::null());
        let bytes = path.metadata().map_or(0, |facts| facts.len());
        let so_far = |took: Duration| {
            format!("restoring `{}` ({:.1} MB): {} s", path.display(), bytes as f64 / 1e6, took.as_secs())
        };
        with_progress(run_program(&mut command), so_far).await.map(drop)
    }

    fn database(&self) -> &str {
        self.variables.iter().find(|(name, _)| *name == "PGDATABASE").map_or("", |(_, name)| name)
    }
}

/// Returns schemas for messages: `` `marts` (3 tables, 1.2 MB) ``.
pub(crate) fn listed(schemas: &[OtherSchema]) -> String {
    let one = |schema: &OtherSchema| {
        format!("`{}` ({}, {:.1} MB)", schema.name, counted(schema.tables, "table"), schema.bytes as f64 / 1e6)
    };
    schemas.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns a pattern for `pg_dump` that matches only this name.
fn exactly(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a path in the same folder, so that a rename stays within the file system and is atomic.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    path.with_file_name(name)
}

/// Returns the entries to restore, without the schema `public`. It exists in every database, and versions of the
/// program differ in whether they create it.
fn chosen(list: &str) -> String {
    let is_public = |line: &&str| line.contains(" SCHEMA - public ") || line.contains(" COMMENT - SCHEMA public ");
    list.lines().filter(|line| !is_public(line)).flat_map(|line| [line, "\n"]).collect()
}

/// Returns the schemas that a list of entries creates, as in `5; 2615 2200 SCHEMA - marts owner`.
fn named(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| Some(line.split_once(" SCHEMA - ")?.1.rsplit_once(' ')?.0))
}

/// Reads the only row of `schema_guard` from a `COPY … (columns) FROM stdin;`.
fn label(said: &str) -> Option<Label> {
    let mut lines = said.lines().skip_while(|line| !line.starts_with("COPY "));
    let columns = lines.next()?.split_once('(')?.1.split_once(')')?.0;
    let row: Vec<&str> = lines.next()?.split('\t').collect();
    let of = |name: &str| {
        let place = columns.split(',').position(|column| column.trim() == name)?;
        row.get(place)?.parse().ok()
    };
    Some(Label { version: of("version")?, min_binary: of("min_binary")? })
}

/// Returns the standard output of a program. Fails with its standard error.
async fn run_program(command: &mut Command) -> Result<String, Failure> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let child = command.stderr(Stdio::piped()).spawn().map_err(Failure::io(format!("cannot run `{program}`")))?;
    let ended = child.wait_with_output().await.map_err(Failure::io(format!("cannot wait for `{program}`")))?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(Failure::new(format!("`{program}` failed: {}", said.trim())));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// Converts a database URL to the environment variables of the programs.
fn variables(url: &str) -> Result<Vec<(&'static str, String)>, Failure> {
    let options = connect::options(url, "orch backup")?;
    let parts = Connection::from_uri("database", url).map_err(|error| Failure::from_error(&error))?;
    let socket = options.get_socket().map(|folder| folder.to_string_lossy().into_owned());
    let mut variables = vec![
        ("PGHOST", socket.unwrap_or_else(|| options.get_host().to_owned())),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
        ("PGDATABASE", options.get_database().unwrap_or(options.get_username()).to_owned()),
        ("PGSSLMODE", ssl_mode(options.get_ssl_mode()).to_owned()),
        ("PGAPPNAME", "orch backup".to_owned()),
    ];
    let extra = |name: &str| parts.extra.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let password = parts.password.clone().or_else(|| extra("password"));
    let more = [
        ("PGPASSWORD", password),
        ("PGSSLROOTCERT", extra("sslrootcert").or_else(|| extra("ssl-root-cert"))),
        ("PGSSLCERT", extra("sslcert").or_else(|| extra("ssl-cert"))),
        ("PGSSLKEY", extra("sslkey").or_else(|| extra("ssl-key"))),
    ];
    variables.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
    Ok(variables)
}

fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_database_is_told_by_the_environment_alone() {
        let told = |url: &str| {
            let variables = variables(url).unwrap();
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            told("postgres://ann:se%20cret@db:6000/orch?sslmode=verify-full&sslrootcert=/ca.pem"),
            "PGHOST=db PGPORT=6000 PGUSER=ann PGDATABASE=orch PGSSLMODE=verify-full PGAPPNAME=orch backup \
            PGPASSWORD=se cret PGSSLROOTCERT=/ca.pem"
        );
        assert!(
            told("postgres:///orch?host=/data/a%20b/socket&port=5432&user=orch")
                .starts_with("PGHOST=/data/a b/socket PGPORT=5432 PGUSER=orch PGDATABASE=orch ")
        );
    }

    #[test]
    fn no_password_stands_on_a_command_line() {
        let copier = Copier { major: 13, variables: variables("postgres://ann:se-cret@db/orch").unwrap() };
        let mut command = copier.command("pg_restore").unwrap();
        command.arg(format!("--dbname={}", copier.database()));
        let line = format!("{:?}", command.as_std().get_args().collect::<Vec<_>>());
        assert_eq!(line, r#"["--dbname=orch"]"#);
    }

    #[test]
    fn a_backup_says_which_schema_it_is_of() {
        let said = "--\n\nCOPY public.schema_guard (one, version, min_binary) FROM stdin;\nt\t16\t9\n\\.\n";
        assert_eq!(label(said), Some(Label { version: 16, min_binary: 9 }));
        assert_eq!(label("-- nothing\n"), None);
    }

    #[test]
    fn the_schema_that_is_there_anyway_is_left_out() {
        let list = "; a comment\n5; 2615 2200 SCHEMA - public orch\n3; 0 0 COMMENT - SCHEMA public orch\n\
            6; 2615 9 SCHEMA - lake orch\n215; 1259 7 TABLE public dag orch\n";
        assert_eq!(chosen(list), "; a comment\n6; 2615 9 SCHEMA - lake orch\n215; 1259 7 TABLE public dag orch\n");
        assert_eq!(named(list).collect::<Vec<_>>(), ["public", "lake"]);
        assert_eq!(named("7; 2615 10 SCHEMA - the marts orch").collect::<Vec<_>>(), ["the marts"]);
        assert_eq!(exactly("a*\"b"), "\"a*\"\"b\"", "no pattern of more");
    }
}
