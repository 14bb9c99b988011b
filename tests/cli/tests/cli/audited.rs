//! Commands that reveal secrets or replace whole objects are recorded in the audit log, with their user.

use crate::world::World;
use serde_json::{Value, json};

/// Returns the matching audit events in order.
async fn deeds(world: &World, like: &str) -> Vec<(String, Value)> {
    let rows: Vec<(String, String, Option<String>)> =
        sqlx::query_as("select actor, event, extra::text from audit where event ~ $1 order by id")
            .bind(like)
            .fetch_all(&mut world.db().await)
            .await
            .unwrap();
    assert!(rows.iter().all(|(actor, ..)| !actor.is_empty()));
    rows.into_iter().map(|(_, event, extra)| (event, extra.map_or(Value::Null, |text| text.parse().unwrap()))).collect()
}

#[tokio::test]
async fn secrets_that_are_given_out_are_in_the_audit_log_without_their_values() {
    let mut world = World::new().await;
    world.set("ORCH_SECRET_KEY", world.run(&["secrets", "generate-key"]).done().trim());
    world.run(&["connections", "add", "sales", "--conn-uri", "postgres://ann:se-cret@db/sales"]).done();
    world.run(&["variables", "set", "token", "se-cret"]).done();
    assert!(world.run(&["connections", "export", "-"]).done().contains("se-cret"));
    assert!(world.run(&["variables", "export", "-"]).done().contains("se-cret"));
    assert!(world.run(&["connections", "list", "--show-values", "-o", "json"]).done().contains("se-cret"));
    assert!(world.run(&["variables", "list", "--show-values", "-o", "json"]).done().contains("se-cret"));
    assert!(world.run(&["connections", "get", "sales", "--show-values"]).done().contains("se-cret"));
    assert_eq!(world.run(&["variables", "get", "token"]).done(), "se-cret\n");
    // These commands reveal no secrets of the database.
    world.set("ORCH_VAR_TOKEN_OF_ENV", "se-cret");
    world.run(&["variables", "get", "token_of_env"]).done();
    world.run(&["variables", "set", "limit", "3"]).done();
    world.run(&["variables", "get", "limit"]).done();
    world.run(&["connections", "get", "sales"]).done();
    world.run(&["variables", "list", "--where", "variable_key_pattern=lim", "--limit", "1"]).done();
    world.run(&["connections", "list", "--show-values", "--hide-sensitive"]).done();
    world.run(&["connections", "list"]).done();
    world.run(&["variables", "list"]).done();
    let (exported, shown) = (json!({ "count": 1, "file": "-" }), json!({ "count": 1 }));
    let expected = [
        ("export_connections", exported.clone()),
        ("export_variables", exported),
        ("show_connections", shown.clone()),
        ("show_variables", shown),
        ("show_connections", json!({ "count": 1, "connection_id": "sales" })),
        ("show_variables", json!({ "count": 1, "key": "token" })),
    ];
    let expected: Vec<(String, Value)> = expected.map(|(event, extra)| (event.into(), extra)).into();
    assert_eq!(deeds(&world, "^(export|show)_").await, expected);
    assert!(!format!("{:?}", deeds(&world, "").await).contains("se-cret"));
}

#[tokio::test]
async fn backups_restores_and_resets_are_in_the_audit_log() {
    let world = World::new().await;
    let file = world.path().join("monday.backup");
    let file = file.to_str().unwrap();
    world.run(&["db", "backup", file]).done();
    let backup = ("backup_db".to_owned(), json!({ "file": file, "schemas": [] }));
    assert_eq!(deeds(&world, "_db$").await, std::slice::from_ref(&backup));
    world.run(&["db", "restore", file, "--yes"]).done();
    let restore =
        ("restore_db".to_owned(), json!({ "file": file, "schema_version": orch_store::guard::SCHEMA_VERSION }));
    assert_eq!(deeds(&world, "_db$").await, [backup, restore]);
    world.run(&["db", "reset", "--yes"]);
    assert_eq!(deeds(&world, "_db$").await, [("reset_db".to_owned(), Value::Null)]);
    world.run_with(b"a-long-password\n", &["users", "create", "-u", "ada", "-r", "user"]);
    world.run_with(b"another-password\n", &["users", "reset-password", "-u", "ada"]);
    let users = deeds(&world, "(user|password)$").await;
    assert_eq!(users[1], ("reset_password".to_owned(), json!({ "user": "ada" })), "{users:?}");
    assert!(!format!("{users:?}").contains("-password"));
    world.run(&["users", "create-token", "-u", "ada", "--name", "ci"]).done();
    world.run(&["users", "revoke-token", "-u", "ada", "--name", "ci"]).done();
    let revoked = ("revoke_token".to_owned(), json!({ "token": "ci", "user": "ada" }));
    assert_eq!(deeds(&world, "_token$").await[1], revoked);
}

#[tokio::test]
async fn archives_that_are_exported_or_dropped_are_in_the_audit_log() {
    let world = World::new().await;
    world.run(&["pools", "set", "crm", "3", "slots"]).done();
    world.run(&["db", "clean", "--clean-before-timestamp", "2100-01-01", "--tables", "audit", "--yes"]).done();
    let archives = "select relname::text from pg_class where relname like 'archived\\_\\_%' and relkind = 'r'";
    let archives: Vec<String> = sqlx::query_scalar(archives).fetch_all(&mut world.db().await).await.unwrap();
    assert_eq!(archives.len(), 1);
    let folder = world.path().join("archive");
    let folder = folder.to_str().unwrap();
    world.run(&["db", "export-archived", "--output-path", folder]).done();
    world.run(&["db", "drop-archived", "--yes"]).done();
    let expected = [
        ("export_archived".to_owned(), json!({ "tables": archives, "folder": folder, "drops": false })),
        ("drop_archived".to_owned(), json!({ "tables": archives })),
    ];
    assert_eq!(deeds(&world, "_archived$").await, expected);
}
