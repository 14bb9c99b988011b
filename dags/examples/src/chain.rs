//! A chain and a fan of trivial tasks, which show the overhead of the engine.

use orch::prelude::*;

const CHAIN_STEPS: u32 = 10;
const FAN_WIDTH: u32 = 20;

/// Adds one to what the step before gave.
#[task]
async fn step(count: u32) -> TaskResult<u32> {
    Ok(count + 1)
}

/// The numbers below `width`, one element each.
#[task]
async fn numbers(width: u32) -> TaskResult<Vec<u32>> {
    Ok((0..width).collect())
}

/// Doubles one number.
#[task]
async fn double(number: u32) -> TaskResult<u64> {
    Ok(u64::from(number) * 2)
}

/// A mapped task fits a `Vec`: it waits for all elements.
#[task]
async fn sum(numbers: Vec<u64>) -> TaskResult<u64> {
    Ok(numbers.iter().sum())
}

/// Returns the DAG `step_1` → `step_2` → … → `step_<length>`, in which each step takes the output of the previous one.
/// It has at least one step.
pub fn chain(dag_id: &str, length: u32) -> Dag {
    dag(dag_id).describe("Light tasks, one after the other").tags(["example"]).build(|d| {
        let mut last = d.add(step(0u32).id("step_1"));
        for number in 2..=length {
            last = d.add(step(last).id(format!("step_{number}")));
        }
    })
}

/// Returns a DAG in which one task returns a list, one instance runs for each of its `width` elements, and one task
/// takes all results.
pub fn fan(dag_id: &str, width: u32) -> Dag {
    dag(dag_id).describe("One task, many at once, one again").tags(["example"]).build(|d| {
        let numbers = d.add(numbers(width));
        d.add(sum(d.map(numbers, double)));
    })
}

pub(crate) fn example_chain() -> Dag {
    chain("example_chain", CHAIN_STEPS)
}

pub(crate) fn example_fan() -> Dag {
    fan("example_fan", FAN_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chain_counts_its_steps() {
        let run = example_chain().test().run().await;
        assert_eq!(run.output::<u32>("step_10"), Some(10));
    }

    #[tokio::test]
    async fn a_fan_comes_together_again() {
        let run = example_fan().test().run().await;
        assert_eq!(run.output::<Vec<u64>>("double").map(|list| list.len()), Some(20));
        assert_eq!(run.output::<u64>("sum"), Some(380));
    }
}
