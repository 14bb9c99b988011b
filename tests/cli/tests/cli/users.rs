//! `orch users`: manages the users who may log in, without passwords where others could read them.

use crate::world::World;

#[tokio::test]
async fn users_come_change_and_go() {
    let world = World::new().await;
    let create =
        ["users", "create", "-u", "ada", "-f", "Ada", "-l", "Lovelace", "-e", "ada@example.com", "-r", "Admin"];
    let created = world.run_with(b"canary-ada\n", &create);
    assert_eq!((created.code, created.err.as_str()), (0, "user `ada` may log in as admin\n"), "{created:?}");
    let made_up = world.run(&["users", "create", "-u", "bob", "-r", "viewer", "--use-random-password"]);
    let password = made_up.done();
    assert_eq!(password.trim_end().len(), 20);
    let listed = world.run(&["users", "list", "-o", "json"]);
    assert!(!listed.out.contains(password.trim_end()) && !listed.out.contains("canary"));
    let listed = listed.json();
    assert_eq!((&listed[0]["username"], &listed[0]["full_name"]), (&"ada".into(), &"Ada Lovelace".into()));
    assert_eq!((&listed[1]["username"], &listed[1]["role"]), (&"bob".into(), &"viewer".into()));

    let taken = world.run(&["users", "create", "-u", "ADA", "-r", "op", "--use-random-password"]).refused();
    assert!(taken.starts_with("error: there is a user `ada` already\nhint: user names are unique"), "{taken}");
    assert_eq!(world.run(&["users", "set-role", "-u", "bob", "-r", "op"]).err, "user `bob` is op\n");
    assert_eq!(world.run(&["users", "disable", "-u", "bob"]).code, 0);
    assert_eq!(world.run(&["users", "list", "-o", "json"]).json()[1]["is_disabled"], true);
    assert_eq!(world.run(&["users", "enable", "-u", "bob"]).code, 0);
    assert_eq!(world.run_with(b"canary-new\n", &["users", "reset-password", "-u", "bob"]).code, 0);
    let created = world.run(&["users", "create-token", "-u", "BOB", "--name", "ci", "--days", "30"]);
    assert!(created.out.starts_with("orch_") && created.out.trim_end().len() > 40, "{created:?}");
    assert!(created.err.starts_with("token `ci` of user `bob` is valid until "), "{created:?}");
    assert!(!created.err.contains(created.out.trim_end()), "{created:?}");
    assert_eq!(world.run(&["users", "list", "-o", "json"]).json()[1]["api_tokens"], 1);
    let twice = world.run(&["users", "create-token", "-u", "bob", "--name", "ci"]).refused();
    assert!(twice.starts_with("error: user `bob` has a token `ci` already\nhint: choose another `--name`"), "{twice}");
    let nobody = world.run(&["users", "create-token", "-u", "eve", "--name", "ci"]).refused();
    assert_eq!(nobody, "error: there is no user `eve`\nhint: `orch users list` names all\n");
    let none = world.run(&["users", "revoke-token", "-u", "bob", "--name", "cd"]).refused();
    assert_eq!(none, "error: user `bob` has no token `cd`\nhint: `orch users list-tokens -u bob` lists all\n");
    let tokens = world.run(&["users", "list-tokens", "-u", "BOB", "-o", "json"]).json();
    assert_eq!((tokens.as_array().unwrap().len(), &tokens[0]["name"]), (1, &"ci".into()), "{tokens}");
    assert_eq!((&tokens[0]["scope"], &tokens[0]["is_expired"]), (&"all".into(), &false.into()), "{tokens}");
    let revoked = world.run(&["users", "revoke-token", "-u", "BOB", "--name", "ci"]);
    assert_eq!((revoked.code, revoked.err.as_str()), (0, "token `ci` of user `bob` is revoked\n"), "{revoked:?}");
    let left = world.run(&["users", "list-tokens", "-u", "bob"]);
    assert!(left.out.is_empty() && left.err.starts_with("user `bob` has no API tokens: "), "{left:?}");
    let nobody = world.run(&["users", "list-tokens", "-u", "eve"]).refused();
    assert_eq!(nobody, "error: there is no user `eve`\nhint: `orch users list` names all\n");
    let last = world.run(&["users", "disable", "-u", "ada"]).refused();
    assert!(last.starts_with("error: `ada` is the last admin who can log in\nhint: "), "{last}");
    assert_eq!(world.run(&["users", "delete", "-u", "bob", "--yes"]).err, "user `bob` is deleted\n");
    let none = world.run(&["users", "delete", "-u", "bob", "--yes"]).refused();
    assert_eq!(none, "error: there is no user `bob`\nhint: `orch users list` names all\n");
}

#[tokio::test]
async fn a_password_is_never_on_a_command_line_and_never_short() {
    let world = World::new().await;
    let seen = world.run(&["users", "create", "-u", "ada", "-r", "op", "-p", "canary-seen"]).refused();
    assert!(seen.contains("can be read by everybody") && !seen.contains("canary"), "{seen}");
    let short = world.run_with(b"short\n", &["users", "create", "-u", "ada", "-r", "op"]).refused();
    assert_eq!(
        short,
        "error: a password has at least 8 characters\nhint: choose another password, or take `--use-random-password`\n"
    );
    let name = world.run_with(b"long enough\n", &["users", "create", "-u", "a b", "-r", "op"]).refused();
    assert!(name.starts_with("error: `a b` is no user name: "), "{name}");
    let role = world.run_with(b"long enough\n", &["users", "create", "-u", "ada", "-r", "boss"]);
    assert!(role.code == 2 && role.err.contains("write viewer, user, op or admin"), "{role:?}");
}
