//! Random sequences of everything that can be done to a table, beside a model of it in memory. After each step both hold
//! the same; no snapshot that is still there reads otherwise than when it was made; after a clean-up exactly the files
//! that somebody reaches are there. Commits race, answers are lost, writes are left half done.
//!
//! A failure prints its seed: `ORCH_MODEL_SEED=7 cargo test --workspace --test model` does the same again.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod catalog;
mod content;
mod steps;
mod world;

use world::World;

const SEQUENCES: u64 = 20;
/// With `ORCH_TEST_LONG`.
const MANY_SEQUENCES: u64 = 500;
const STEPS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "what a test run may take, and what it repeats, is said by the environment"
)]
async fn whatever_is_done_the_table_holds_what_the_model_holds() {
    let seeds = match std::env::var("ORCH_MODEL_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("a seed is a number"),
        Err(_) if std::env::var_os("ORCH_TEST_LONG").is_some() => 0..MANY_SEQUENCES,
        Err(_) => 0..SEQUENCES,
    };
    for seed in seeds {
        let world = World::new(seed).await.unwrap();
        let mut sequence = SequenceUnderTest { seed, world };
        for _ in 0..STEPS {
            let done = sequence.world.step().await;
            done.unwrap_or_else(|error| panic!("{error:?}"));
        }
        let cleaned = sequence.world.clean().await;
        cleaned.unwrap_or_else(|error| panic!("{error:?}"));
    }
}

/// Says what was done when a sequence fails.
struct SequenceUnderTest {
    seed: u64,
    world: World,
}

impl Drop for SequenceUnderTest {
    #[expect(clippy::print_stderr, reason = "the output of a test that fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} fails after:", self.seed);
            self.world.trace.iter().for_each(|step| eprintln!("  {step}"));
        }
    }
}
