//! Tasks that wait without a slot: the task ends with its condition, and is called again when the condition is met.
//! Waits survive restarts of all processes.

use orch::prelude::*;

/// A body that waits in the middle of its work.
#[task]
async fn read_when_there(ctx: Ctx, path: String) -> TaskResult<usize> {
    match ctx.resumed() {
        None => Err(defer(wait::file(path).poke_every(secs(1)).timeout(hours(1)))),
        Some(resumed) => {
            let found: Vec<String> = resumed.value_as()?;
            ctx.info(format!("{} files are there", found.len()));
            Ok(found.len())
        }
    }
}

pub(crate) fn example_waiting() -> Dag {
    dag("example_waiting").describe("Waits without a slot").tags(["example"]).build(|d| {
        // Waits for the first of two files; Airflow would need a custom sensor for that.
        let first = d.add(wait_for("first", wait::any([wait::file("/etc/hosts"), wait::file("/etc/hostname")])));
        d.add(read_when_there("/etc/host*".to_string()).after(first));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_is_scripted_in_a_test() {
        let run = example_waiting().test().met("read_when_there", ["/a", "/b"]).run().await;
        assert_eq!(run.output::<usize>("read_when_there"), Some(2));
        let run = example_waiting().test().times_out("read_when_there").run().await;
        assert_eq!(run.state("read_when_there"), orch::TaskState::Failed);
    }
}
