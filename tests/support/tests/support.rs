//! Tests of the test servers: databases are migrated, isolated and dropped afterwards; private servers recover from a
//! kill.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use orch_test_support::{Durability, TestDb, postgres, private_server};
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection, PgPool};

static MIGRATIONS: Migrator = sqlx::migrate!("tests/migrations");

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from note").fetch_one(pool).await.unwrap()
}

async fn database_exists(name: &str) -> bool {
    let mut connection = PgConnection::connect(&postgres().await.url()).await.unwrap();
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_test_database_has_the_migrations_and_is_not_shared() {
    let (one, other) = tokio::join!(TestDb::new(&MIGRATIONS), TestDb::new(&MIGRATIONS));
    sqlx::query("insert into note values (1, 'mine')").execute(&one.pool()).await.unwrap();
    assert_eq!(count(&one.pool()).await, 1);
    assert_eq!(count(&other.pool()).await, 0);
    let mut direct = one.connect().await;
    assert_eq!(sqlx::query_scalar::<_, String>("select body from note").fetch_one(&mut direct).await.unwrap(), "mine");
}

#[tokio::test]
async fn a_test_database_is_gone_after_the_test_even_with_open_connections() {
    let database = TestDb::new(&MIGRATIONS).await;
    let name = database.name().to_owned();
    let _open = database.connect().await;
    assert!(database_exists(&name).await);
    drop(database);
    assert!(!database_exists(&name).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tests_at_once_get_their_databases() {
    let mut tests = tokio::task::JoinSet::new();
    for number in 0..16 {
        tests.spawn(async move {
            let database = TestDb::new(&MIGRATIONS).await;
            sqlx::query("insert into note values ($1, '')").bind(number).execute(&database.pool()).await.unwrap();
            count(&database.pool()).await
        });
    }
    assert_eq!(tests.join_all().await, vec![1; 16]);
}

#[tokio::test]
async fn a_killed_private_server_keeps_what_was_committed() {
    for durability in [Durability::Full, Durability::None] {
        let mut server = private_server(durability).await;
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        MIGRATIONS.run(&mut connection).await.unwrap();
        sqlx::query("insert into note values (1, 'kept')").execute(&mut connection).await.unwrap();
        let before = server.pid();
        server.kill_9().await;
        assert!(sqlx::query("select 1").execute(&mut connection).await.is_err());
        assert_eq!(server.pid(), None);

        server.start().await;
        assert_ne!(server.pid(), before);
        server.restart().await;
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        assert_eq!(
            sqlx::query_scalar::<_, String>("select body from note").fetch_one(&mut connection).await.unwrap(),
            "kept"
        );
        let durable: String = sqlx::query_scalar("show fsync").fetch_one(&mut connection).await.unwrap();
        assert_eq!(durable == "on", durability == Durability::Full);
    }
}
