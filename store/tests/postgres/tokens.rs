//! API tokens: concurrent requests cannot create more tokens than a user may have.

use crate::fixture::{database, number, one};
use chrono::{DateTime, Utc};
use orch_store::token::{AddToken, MOST_TOKENS, NewToken, TokenScope, add_token, token_hash};
use orch_store::user::{NewUser, add_user};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

async fn add(db: &mut PgConnection, name: &str) -> AddToken {
    let new = NewToken {
        token_hash: &token_hash(name),
        user: "ada",
        name,
        scope: TokenScope::All,
        now: DateTime::<Utc>::UNIX_EPOCH,
        expires_at: None,
    };
    add_token(db, &new).await.expect("it is added or refused")
}

#[tokio::test]
async fn two_requests_at_the_same_time_add_no_more_tokens_than_a_user_may_have() {
    let database = database().await;
    let (mut db, mut other, mut watch) = (one(&database).await, one(&database).await, one(&database).await);
    let ada = NewUser { name: "ada", password_hash: "hash", role: "op", ..NewUser::default() };
    assert_eq!(add_user(&mut db, &ada).await.unwrap(), None);
    for token in 1..MOST_TOKENS {
        assert_eq!(add(&mut db, &token.to_string()).await, AddToken::Added);
    }
    let mut tx = db.begin().await.unwrap();
    assert_eq!(add(&mut tx, "first").await, AddToken::Added);
    let mut second = JoinSet::new();
    second.spawn(async move {
        let mut tx = other.begin().await.unwrap();
        let added = add(&mut tx, "second").await;
        tx.commit().await.unwrap();
        added
    });
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while number(&mut watch, waiting).await == 0 {
        if let Some(added) = second.try_join_next() {
            panic!("it did not wait: {added:?}");
        }
        tokio::task::yield_now().await;
    }
    tx.commit().await.unwrap();
    assert_eq!(second.join_all().await, [AddToken::TooMany]);
    assert_eq!(number(&mut watch, "select count(*) from api_token").await, MOST_TOKENS);
}
