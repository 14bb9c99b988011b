//! A diamond whose right side skips itself: the trigger rule of each join decides how it handles the skip.

use orch::prelude::*;

#[task]
async fn start() -> TaskResult<u32> {
    Ok(1)
}

/// Always has something.
#[task]
async fn left(number: u32) -> TaskResult<u32> {
    Ok(number + 1)
}

/// Never has anything: a skip is no failure.
#[task]
async fn right(number: u32) -> TaskResult<u32> {
    Err(skip(format!("nothing to do for {number}")))
}

/// `all_success`, the default: skipped, because one side is.
#[task]
async fn both(left: u32, right: u32) -> TaskResult<u32> {
    Ok(left + right)
}

/// `none_failed_min_one_success`: runs with what is there. Its parameters are `Option`s, or start-up would refuse it.
#[task(trigger_rule = NoneFailedMinOneSuccess)]
async fn either(left: Option<u32>, right: Option<u32>) -> TaskResult<u32> {
    Ok(left.unwrap_or(0) + right.unwrap_or(0))
}

/// `one_failed`: the place for an alarm. Skipped, because nothing failed.
#[task(trigger_rule = OneFailed)]
async fn alarm(ctx: Ctx) -> TaskResult<()> {
    ctx.error("one side failed");
    Ok(())
}

/// `all_done`: runs whatever happened.
#[task(trigger_rule = AllDone)]
async fn report(both: Option<u32>, either: Option<u32>) -> TaskResult<String> {
    Ok(format!("both: {both:?}, either: {either:?}"))
}

pub(crate) fn example_diamond() -> Dag {
    dag("example_diamond").describe("Trigger rules: what a join does after a skip").tags(["example"]).build(|d| {
        let start = d.add(start());
        let (left, right) = (d.add(left(start)), d.add(right(start)));
        let both = d.add(both(left, right));
        let either = d.add(either(left, right));
        d.add(alarm().after((left, right)));
        d.add(report(both, either));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::TaskState::{Failed, Skipped, Success, UpstreamFailed};

    const JOINS: [&str; 4] = ["both", "either", "alarm", "report"];

    #[tokio::test]
    async fn each_join_follows_its_rule() {
        let run = example_diamond().test().run().await;
        assert_eq!(JOINS.map(|id| run.state(id)), [Skipped, Success, Skipped, Success]);
        assert_eq!(run.output::<String>("report").as_deref(), Some("both: None, either: Some(2)"));

        let failed = example_diamond().test().fail("right").run().await;
        assert_eq!(failed.state("right"), Failed);
        assert_eq!(JOINS.map(|id| failed.state(id)), [UpstreamFailed, UpstreamFailed, Success, Success]);

        let full = example_diamond().test().with("right", 5).run().await;
        assert_eq!(JOINS.map(|id| full.state(id)), [Success, Success, Skipped, Success]);
        assert_eq!(full.output::<u32>("both"), Some(7));
    }
}
