//! Temporary failures: retries with exponential backoff, an error that is never retried, and a sensor that waits.

use orch::prelude::*;

/// Fails twice, as a busy server would. Any error is tried again while retries are left: `?`, `bail!`, a panic.
#[task(retries = 3, retry_delay = secs(1), retry_backoff = 2.0, max_retry_delay = secs(10), timeout = mins(1))]
async fn unreliable(ctx: Ctx) -> TaskResult<u32> {
    if ctx.try_number() < 3 {
        bail!("the server is busy (try {})", ctx.try_number());
    }
    Ok(ctx.try_number())
}

/// `fatal` fails at once, whatever retries are left. Here it never comes to that.
#[task(retries = 5)]
async fn check(tries: u32) -> TaskResult<u32> {
    if tries > 10 {
        return Err(fatal("that is often enough"));
    }
    Ok(tries)
}

/// A sensor gives `None` for "not yet"; it takes no worker while it waits.
#[sensor(poll_every = secs(2), timeout = mins(5))]
async fn ready(ctx: Ctx) -> TaskResult<Option<String>> {
    Ok(Some(format!("ready in run {}", ctx.run_id())))
}

pub(crate) fn example_retry() -> Dag {
    dag("example_retry")
        .describe("Retries with growing delays, and a sensor")
        .tags(["example"])
        .run_timeout(mins(10))
        .build(|d| {
            let tries = d.add(unreliable());
            let tries = d.add(check(tries));
            d.add(ready().after(tries));
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::{MemoryHost, RunFacts, TaskError, TaskState, TryFacts};

    #[tokio::test]
    async fn the_third_try_is_the_good_one() {
        let run = example_retry().test().run().await;
        assert_eq!(run.output::<u32>("unreliable"), Some(3));
        assert_eq!(run.state("ready"), TaskState::Success);
    }

    #[tokio::test]
    async fn each_kind_of_failure_is_what_it_says() {
        let first = unreliable().run_alone(Ctx::test()).await;
        assert_eq!(first, Err(TaskError::retryable("the server is busy (try 1)")));
        let third = TryFacts { try_number: 3, ..TryFacts::test() };
        assert_eq!(unreliable().run_alone(MemoryHost::new().ctx_for(RunFacts::test(), third)).await, Ok(3));
        assert!(matches!(check(11u32).run_alone(Ctx::test()).await, Err(TaskError::Fatal { .. })));
    }
}
