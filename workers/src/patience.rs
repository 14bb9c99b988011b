//! Retries for reads and writes of task functions while the database is unreachable. An attempt never fails because of
//! an outage; a worker that stays cut off for too long ends its attempts itself.

use orch_store::{StoreError, StoreResult};
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Calls `ask` until the database responds. `ask` must be idempotent.
pub(crate) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> StoreResult<T>
where
    F: Future<Output = StoreResult<T>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Err(StoreError::Unreachable(error)) => {
                tracing::debug!(%error, "a body waits for the database");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(StoreError::TryAgain(_)) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_for_the_database_and_for_nothing_else() {
        let mut answers = vec![Ok(7), Err(StoreError::Unreachable(sqlx::Error::PoolTimedOut))];
        assert_eq!(patiently(|| std::future::ready(answers.pop().unwrap())).await.unwrap(), 7);
        let mut answers = vec![Ok(7), Err(StoreError::corrupt("broken"))];
        assert!(patiently(|| std::future::ready(answers.pop().unwrap())).await.is_err());
    }
}
