//! Retries database reads and writes of task functions while the database is unreachable or rolls statements back. An
//! outage never fails an attempt. A worker that is disconnected for too long ends its attempts itself.

use orch_store::StoreResult;
use std::time::Duration;

/// Backoff after the first failure. Doubled after each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Calls `ask` with exponential backoff until it succeeds or returns an error that a retry cannot fix. `ask` must be
/// idempotent.
pub(crate) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> StoreResult<T>
where
    F: Future<Output = StoreResult<T>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Err(error) if error.passes() => {
                tracing::debug!(%error, "a task function waits for the database");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_store::StoreError;

    #[tokio::test]
    async fn it_waits_for_the_database_and_for_nothing_else() {
        let mut answers = vec![Ok(7), Err(StoreError::Unreachable(sqlx::Error::PoolTimedOut))];
        assert_eq!(patiently(|| std::future::ready(answers.pop().unwrap())).await.unwrap(), 7);
        let mut answers = vec![Ok(7), Err(StoreError::corrupt("broken"))];
        assert!(patiently(|| std::future::ready(answers.pop().unwrap())).await.is_err());
    }
    #[tokio::test]
    async fn it_pauses_before_a_statement_that_was_rolled_back_is_sent_again() {
        let begun = tokio::time::Instant::now();
        let rolled_back = || Err(StoreError::TryAgain(sqlx::Error::PoolTimedOut));
        let mut answers = vec![Ok(7), rolled_back(), rolled_back()];
        assert_eq!(patiently(|| std::future::ready(answers.pop().unwrap())).await.unwrap(), 7);
        assert!(begun.elapsed() >= FIRST_PAUSE * 3, "{:?}", begun.elapsed());
    }
}
