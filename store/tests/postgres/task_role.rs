//! Database roles with fewer privileges than the owner: the role from the setting `task_role`, and logins that cannot
//! read the tables.

use crate::fixture::{database, one};
use orch_store::database_url::with_login;
use orch_store::task_role::{TaskRole, prepare, url};
use orch_store::{connect, guard};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::path::Path;

async fn sql(db: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(db).await.expect(statements);
}

/// Executes a statement that must fail, and returns its SQLSTATE.
async fn refused(db: &mut PgConnection, statement: &str) -> String {
    let error = sqlx::raw_sql(AssertSqlSafe(statement)).execute(db).await.expect_err(statement);
    error.as_database_error().expect(statement).code().expect(statement).into_owned()
}

#[tokio::test]
async fn the_role_of_tasks_uses_the_lake_and_reads_no_table_of_orch() {
    let database = database().await;
    let mut db = one(&database).await;
    // Roles are shared by all databases of a server, and other tests use the same server, so the name must be unique.
    let name = format!("tasks_{}", std::process::id());
    let role = TaskRole { name: name.clone(), password: None };
    let missing = prepare(&mut db, &database.url(), &role).await.unwrap_err().to_string();
    let hint = format!("does not exist\nhint: as an administrator of the database, `create role \"{name}\" login");
    assert!(missing.contains(&hint), "{missing}");
    sql(&mut db, &format!("create role {name} login")).await;
    let mut tasks = connect::one(&url(&database.url(), Path::new("/"), Some(&role)), "test").await.unwrap();

    let lacks = prepare(&mut tasks, &database.url(), &role).await.unwrap_err().to_string();
    let hint = format!("`grant orch_lake to \"{name}\"; grant usage, create on schema lake to \"{name}\"`");
    assert!(lacks.ends_with(&hint), "a user who may not grant gets the statements: {lacks}");
    for _ in 0..2 {
        prepare(&mut db, &database.url(), &role).await.unwrap();
    }
    for table in ["connection", "variable", "api_user", "api_token", "web_session", "setting", "log_chunk"] {
        assert_eq!(refused(&mut tasks, &format!("select from {table}")).await, "42501", "{table}");
    }
    sql(&mut tasks, "insert into lake.iceberg_tables values ('c', 'n', 't'); create table lake.mine (n int)").await;
    sql(&mut db, "begin; set local role orch_lake; insert into lake.mine values (1); rollback").await;

    // Only a superuser may grant `pg_read_all_data`.
    let mut admin = connect::one(&database.url().replace("user=orch_owner", "user=orch"), "test").await.unwrap();
    for (privilege, first_table) in [("select on variable", "variable"), ("pg_read_all_data", "")] {
        sql(&mut admin, &format!("grant {privilege} to {name}")).await;
        let reads = prepare(&mut db, &database.url(), &role).await.unwrap_err().to_string();
        let error = format!("the role `{name}` of the setting `task_role` can read orch's table `{first_table}");
        assert!(reads.starts_with(&error), "{reads}");
        sql(&mut admin, &format!("revoke {privilege} from {name}")).await;
    }
    let owner = TaskRole { name: "orch_owner".into(), password: None };
    let error = prepare(&mut db, &database.url(), &owner).await.unwrap_err().to_string();
    assert!(error.contains("can read orch's table"), "{error}");

    tasks.close().await.unwrap();
    sql(&mut admin, &format!("drop owned by {name}; drop role {name}")).await;
}

#[tokio::test]
async fn a_login_that_may_not_read_the_tables_is_told_what_it_lacks() {
    let database = database().await;
    let mut db = one(&database).await;
    // The first check stores the identity of the database cluster, which requires the owner.
    guard::check(&mut db).await.unwrap();
    let name = format!("reader_{}", std::process::id());
    sql(&mut db, &format!("create role {name} login")).await;
    let mut reader = connect::one(&with_login(&database.url(), &name, None), "test").await.unwrap();
    let grant_select = format!("grant select on all tables in schema \"public\" to \"{name}\"");
    let lacks = guard::check(&mut reader).await.unwrap_err().to_string();
    let privilege = "SELECT on the table `schema_guard` of the schema `public`";
    assert!(lacks.starts_with(&format!("the login `{name}` lacks the privilege {privilege}\nhint: ")), "{lacks}");
    assert!(lacks.contains(&format!("`{grant_select}`")) && !lacks.contains("migrate"), "{lacks}");

    // If the role lacks access to the schema, Postgres reports the tables as undefined.
    let mut admin = connect::one(&database.url().replace("user=orch_owner", "user=orch"), "test").await.unwrap();
    sql(&mut admin, "revoke usage on schema public from public").await;
    let lacks = guard::check(&mut reader).await.unwrap_err().to_string();
    let privilege = "USAGE on the schema `public`";
    assert!(lacks.starts_with(&format!("the login `{name}` lacks the privilege {privilege}\nhint: ")), "{lacks}");
    let grants = format!("grant usage on schema \"public\" to \"{name}\"; {grant_select}");
    assert!(lacks.contains(&format!("`{grants}`")) && !lacks.contains("migrate"), "{lacks}");
    sql(&mut admin, &grants).await;
    guard::check(&mut reader).await.unwrap();

    reader.close().await.unwrap();
    sql(&mut admin, &format!("drop owned by {name}; drop role {name}")).await;
}
