//! A report that users check before it is published: the request occupies no slot, and users respond on `/approvals`.

use orch::prelude::*;

/// What is typed in beside the answer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Limits {
    /// Rows of the report
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1_000))]
    rows: u32,
}

fn ten() -> u32 {
    10
}

#[task]
async fn publish(ctx: Ctx, limits: Response<Limits>) -> TaskResult<u32> {
    ctx.info(format!("{} rows, as {:?} said", limits.input.rows, limits.responded_by_user));
    Ok(limits.input.rows)
}

pub(crate) fn example_approval() -> Dag {
    dag("example_approval").describe("Asks people before it publishes").tags(["example"]).build(|d| {
        let limits = d.add(input::<Limits>("How many rows?").timeout(hours(1)).call().id("limits"));
        let asked = approval("Publish the report?").body("It goes to all customers.\n\nRejected: nothing happens.");
        let approved = d.add(asked.timeout(hours(48)).default(REJECT).call().id("approved").after(limits));
        d.add(publish(limits).after(approved));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::TaskState::{Skipped, Success};

    #[tokio::test]
    async fn what_is_approved_is_published() {
        let limits = json!({ "chosen_options": ["OK"], "params_input": { "rows": 3 } });
        let approved = json!({ "chosen_options": [APPROVE] });
        let run = example_approval().test().met("limits", limits).met("approved", approved).run().await;
        assert_eq!((run.state("publish"), run.output::<u32>("publish")), (Success, Some(3)));
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_published() {
        let run = example_approval().test().run().await;
        assert_eq!((run.state("approved"), run.state("publish")), (Success, Skipped));
        let limits = run.output::<Response<Limits>>("limits").expect("it has defaults");
        assert!(limits.timed_out && limits.input.rows == 10, "{limits:?}");
    }
}
