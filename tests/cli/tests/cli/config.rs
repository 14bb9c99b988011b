//! The sources of settings.

use crate::binary::{CommandOutput, command, run};

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("orch.toml"), "port = 1111\nlease = \"20s\"\nqueues = [\"a\", \"b\"]\nslots = 5\n")
        .unwrap();
    let mut command = command(home.path());
    command.env("ORCH_PORT", "2222").env("ORCH_LEASE", "30s").env("ORCH_SLOTS", "");
    let listed =
        CommandOutput::of(&command.args(["config", "list", "--port", "3333", "-o", "json"]).output().unwrap()).json();
    let of = |key: &str| {
        let row = listed.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        (row["value"].as_str().unwrap().to_owned(), row["source"].as_str().unwrap().to_owned())
    };
    let file = data.join("orch.toml").display().to_string();
    assert_eq!(of("port"), ("3333".into(), "--port".into()));
    assert_eq!(of("lease"), ("30s".into(), "ORCH_LEASE".into()));
    assert_eq!(of("queues"), ("a,b".into(), file.clone()));
    assert_eq!(of("slots"), ("5".into(), file));
    assert_eq!(of("grace"), ("30s".into(), "default".into()));
}

#[test]
fn secrets_are_never_shown() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path());
    command.env("ORCH_ADMIN_PASSWORD", "geheim").env("ORCH_DATABASE_URL", "postgres://me:geheim@127.0.0.1:1/x");
    let listed = CommandOutput::of(&command.args(["config", "list"]).output().unwrap());
    assert!(listed.out.contains("postgres://me:***@127.0.0.1:1/x"), "{listed:?}");
    let url = "postgres://me:geheim@127.0.0.1:1/x";
    let asked = run(home.path(), ["dags", "list", "--database-url", url]);
    assert_eq!(asked.code, 2);
    for ended in [listed, asked] {
        assert!(!format!("{ended:?}").contains("geheim"), "{ended:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("my.toml");
    std::fs::write(&file, "prt = 1\nslots = 0.5\n").unwrap();
    let mut command = command(home.path());
    command.env("ORCH_PORT", "99999").arg("--config").arg(&file).args(["config", "list", "--lease", "5"]);
    let refused = CommandOutput::of(&command.output().unwrap()).refused();
    assert_eq!(
        refused,
        "error: `<path>` has an unknown key `prt`\nhint: did you mean `port`?\n\
        error: `slots` in `<path>`, line 2, is 0.5, not a whole number\nhint: write for example `slots = 256`\n\
        error: port `99999` from ORCH_PORT is not a number from 0 to 65535\n\
        hint: set it with `--port`, `ORCH_PORT` or `port = …` in orch.toml\n\
        error: lease `5` from --lease is not a time with a unit such as `500ms`, `30s`, `5m`, `2h` or `90d`\n\
        hint: set it with `--lease`, `ORCH_LEASE` or `lease = …` in orch.toml\n"
    );
    let missing = run(home.path(), ["--config", "/nonexistent.toml", "config", "list"]).refused();
    assert_eq!(
        missing,
        "error: cannot read `/nonexistent.toml`: No such file or directory (os error 2)\n\
        hint: correct the path in `--config` or `ORCH_CONFIG`, or leave it out\n"
    );
}

#[test]
fn a_database_that_is_not_postgres_is_refused_with_the_form_of_the_url() {
    let home = tempfile::tempdir().unwrap();
    for (url, shown) in [
        ("mysql://me:geheim@db/orch", "`mysql://…`"),
        ("127.0.0.1:5432", "`127.0.0.1:5432`"),
        ("me:geheim@db/orch", "(hidden, it may contain a password)"),
    ] {
        let mut command = command(home.path());
        command.env("ORCH_DATABASE_URL", url).args(["dags", "list"]);
        let refused = CommandOutput::of(&command.output().unwrap()).refused();
        assert_eq!(
            refused,
            format!(
                "error: database_url {shown} from ORCH_DATABASE_URL is not the address of a Postgres database\n\
                hint: orch needs `postgres://user:password@host:5432/database`\n"
            )
        );
    }
}

#[test]
fn the_list_of_settings_says_where_new_dags_are_not_paused() {
    let home = tempfile::tempdir().unwrap();
    let listed = run(home.path(), ["config", "list", "-o", "json"]).json();
    let row = listed.as_array().unwrap().iter().find(|row| row["key"] == "paused_at_creation").unwrap();
    assert_eq!((&row["value"], &row["source"]), (&"true".into(), &"default (false in standalone and dev)".into()));
}

#[test]
fn one_value_is_printed_alone() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(run(home.path(), ["config", "get-value", "lease"]).done(), "15s\n");
    let refused = run(home.path(), ["config", "get-value", "leese"]).refused();
    assert_eq!(refused, "error: there is no setting `leese`\nhint: did you mean `lease`?\n");
}
