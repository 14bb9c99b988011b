//! A minimal DAG: two tasks in sequence, every morning in Berlin.

use orch::prelude::*;

/// Makes a greeting. What a task returns is stored and goes to the tasks that take it.
#[task]
async fn greet(ctx: Ctx) -> TaskResult<String> {
    ctx.info(format!("this is run {}", ctx.run_id()));
    Ok("hello from orch".into())
}

/// Its parameter is the output of `greet`: a task that gives no `String` would not compile here.
#[task]
async fn shout(greeting: String) -> TaskResult<String> {
    Ok(greeting.to_uppercase())
}

pub(crate) fn example_hello() -> Dag {
    dag("example_hello")
        .describe("Two tasks, one after the other, and a command of the shell")
        .schedule(cron("0 6 * * *").tz("Europe/Berlin"))
        .start("2025-01-01")
        .tags(["example"])
        .build(|d| {
            let loud = d.add(shout(d.add(greet())));
            d.add(shell("echo done in run $ORCH_RUN_ID").id("done").after(loud));
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_shouts_the_greeting() {
        let run = example_hello().test().run().await;
        assert_eq!(run.output::<String>("shout").as_deref(), Some("HELLO FROM ORCH"));
        assert_eq!(
            run.output::<orch::ShellOutput>("done").map(|o| o.last_line).as_deref(),
            Some("done in run manual__test")
        );
    }

    #[tokio::test]
    async fn a_task_can_be_tested_alone() {
        assert_eq!(shout("psst").run_alone(Ctx::test()).await, Ok("PSST".into()));
    }
}
