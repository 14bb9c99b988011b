//! Hints for commands of Airflow that have a different name in orch or are not needed.

/// Returns a hint for a command line that is not a valid command. `words` are its arguments up to the first flag.
pub(crate) fn hint(words: &[&str]) -> Option<&'static str> {
    Some(match words {
        ["webserver", ..] => "the web server is `orch web`; `orch standalone` brings everything",
        ["celery" | "flower", ..] => "a worker is `orch worker`; the page /workers shows what each of them does",
        ["triggerer", ..] => "workers look after tasks that wait: orch needs no triggerer",
        ["dag-processor", ..] => "workers read DAG files; `orch dags reserialize` registers them at once",
        ["rotate-fernet-key", ..] => "`orch secrets rotate` seals all secrets with a new key",
        ["db", "init" | "upgrade"] => "`orch db migrate` creates the schema or brings it up to date",
        ["db", "check-migrations"] => "`orch db check` says whether the schema fits",
        ["db", "downgrade"] | ["db-manager" | "fab-db", ..] => {
            "`orch db migrate` brings the schema up to date; the way back is a backup and `orch db restore`"
        }
        ["state-store", ..] => "old rows go by themselves; `orch db clean` deletes them now",
        ["tasks", "run"] => "`orch tasks test` runs one task here and now, `orch dags trigger` starts a run of its DAG",
        ["tasks", "render"] => "`orch dags test` runs a DAG or a DAG file here and now, with its templates filled in",
        ["tasks", "log"] => "`orch tasks logs` prints the log of a task",
        ["dags", "clear"] | ["partitions", ..] => "`orch tasks clear` clears runs of a DAG, by dates or by run",
        ["dags", "list-jobs"] => {
            "`orch dags list-runs` lists the runs of a DAG, `orch jobs check` asks whether processes live"
        }
        ["users", "add"] => "`orch users create` creates a user",
        ["roles" | "permissions", ..] => "roles are fixed: `orch users set-role` gives a user another one",
        ["providers" | "plugins", ..] => {
            "operators and hooks are Rust code in the binary with your DAGs: see docs/guides/operators.md"
        }
        ["config", "lint" | "update"] => "`orch config list` shows all settings, and refuses a file with unknown keys",
        ["connections", "create-default-connections"] => {
            "`orch connections add` adds a connection; there are no default ones"
        }
        ["cheat-sheet", ..] => "`orch --help` lists all commands",
        ["kerberos", ..] => "orch does not speak Kerberos",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::hint;
    use crate::command_line;

    /// The commands of Airflow 3.3.2, and of older versions that many users still type.
    const COMMANDS: &[(&str, &str)] = &[
        ("api-server", ""),
        ("assets", "details list materialize"),
        ("backfill", "create"),
        ("cheat-sheet", ""),
        ("config", "get-value lint list update"),
        ("connections", "add create-default-connections delete export get import list test"),
        ("dag-processor", ""),
        (
            "dags",
            "clear delete details list list-import-errors list-jobs list-runs next-execution pause report reserialize show show-dependencies state test trigger unpause",
        ),
        ("db", "check check-migrations clean downgrade drop-archived export-archived migrate reset shell"),
        ("db-manager", "downgrade migrate reset"),
        ("info", ""),
        ("jobs", "check"),
        ("kerberos", ""),
        ("partitions", "clear"),
        ("plugins", ""),
        ("pools", "delete export get import list set"),
        (
            "providers",
            "auth-managers behaviours configs executors get hooks lazy-loaded links list logging notifications queues secrets triggers widgets",
        ),
        ("rotate-fernet-key", ""),
        ("scheduler", ""),
        ("standalone", ""),
        ("state-store", "clean"),
        ("tasks", "clear failed-deps list render state states-for-dag-run test"),
        ("teams", ""),
        ("triggerer", ""),
        ("variables", "delete export get import list set"),
        ("version", ""),
        ("celery", "worker flower stop"),
        ("webserver", ""),
        ("flower", ""),
        ("roles", "list create"),
        ("users", "add"),
    ];

    #[test]
    fn each_command_of_airflow_is_one_here_or_has_a_hint() {
        let here = command_line();
        for (group, verbs) in COMMANDS {
            let verbs: Vec<&str> = if verbs.is_empty() { vec![""] } else { verbs.split(' ').collect() };
            for verb in verbs {
                let words: Vec<&str> = [*group, verb].into_iter().filter(|word| !word.is_empty()).collect();
                let found = words.iter().try_fold(&here, |command, word| command.find_subcommand(word));
                assert_eq!(found.is_none(), hint(&words).is_some(), "`{}` is here, or has a hint", words.join(" "));
            }
        }
    }
}
