//! Cancelling a future that uses a pooled connection leaves no session state for the next caller.

use crate::fixture::{database, number, one};
use orch_store::connect;
use sqlx::postgres::PgPool;
use std::future::{Future as _, poll_fn};
use std::task::Poll;

/// Polls the future of `begin` a few times and then drops it, as happens for a request whose client disconnects.
async fn begin_and_leave(pool: &PgPool, looks: usize) {
    let mut begin = Box::pin(pool.begin());
    for _ in 0..looks {
        if poll_fn(|cx| Poll::Ready(begin.as_mut().poll(cx).is_ready())).await {
            return;
        }
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_begins_leaves_no_transaction_behind() {
    let database = database().await;
    let mut other = one(&database).await;
    let pool = connect::pool(&database.url(), "test", 1).unwrap();
    for times in 1..40 {
        begin_and_leave(&pool, times % 4 + 1).await;
        let write = sqlx::query("insert into setting (key, value) values ($1, 'kept')").bind(format!("{times}"));
        write.execute(&pool).await.unwrap();
        let kept = "select count(*) from setting where value = 'kept'";
        assert_eq!(number(&mut other, kept).await, times as i64, "what was written is committed");
    }
}
