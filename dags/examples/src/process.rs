//! A task in a child process, so that a crash affects only this task. A worker runs few of these at a time, and kills
//! one that exceeds its memory limit.

#![expect(clippy::print_stdout, reason = "a child's output is the log of its task")]

use orch::prelude::*;

/// How much it is to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Appetite {
    /// MB of memory; more than 200 are too many for this task.
    #[schemars(range(min = 1, max = 4_096))]
    megabytes: u32,
}

impl Default for Appetite {
    fn default() -> Self {
        Appetite { megabytes: 16 }
    }
}

#[task(isolation = Isolation::Process, memory_mb = 200)]
async fn fill(ctx: Ctx, appetite: Appetite) -> TaskResult<u32> {
    println!("what a child prints is its log; this one has the number {}", std::process::id());
    let mut held = Vec::new();
    for _ in 0..appetite.megabytes {
        held.push(vec![1_u8; 1 << 20]);
        if held.len() % 64 == 0 {
            // Gives the memory watcher time to measure.
            tokio::time::sleep(millis(50)).await;
        }
    }
    ctx.info(format!("{} MB are filled", held.len()));
    tokio::time::sleep(if appetite.megabytes > 200 { secs(60) } else { millis(1) }).await;
    Ok(appetite.megabytes)
}

pub(crate) fn example_process() -> Dag {
    dag("example_process").describe("A child process with a limit").tags(["example"]).build(|d| {
        let appetite = d.params::<Appetite>();
        d.add(fill(appetite));
    })
}
