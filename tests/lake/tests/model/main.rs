//! Runs random sequences of table operations and compares the table with an in-memory model. After each step both
//! have the same rows; every remaining snapshot reads as it did when it was committed; after a cleanup exactly the
//! referenced files exist. Commits race, responses are lost, and writes are abandoned.
//!
//! A failure prints its seed: `ORCH_MODEL_SEED=7 cargo test --workspace --test model` repeats the sequence.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod catalog;
mod content;
mod race;
mod steps;
mod world;

use iceberg::spec::Transform;
use steps::CityStep;
use world::World;

const SEQUENCES: u64 = 20;
/// Number of sequences with `ORCH_TEST_LONG`.
const MANY_SEQUENCES: u64 = 500;
const STEPS: usize = 25;
/// Initial partition of every second table.
const BY_CITY: (&str, Transform) = ("city", Transform::Identity);

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
    let sequences = seeds.end - seeds.start;
    let (mut separate_races, mut beside_reader) = (0, 0);
    for seed in seeds {
        let world = World::new(seed, (seed % 2 == 0).then_some(BY_CITY)).await.unwrap();
        let mut sequence = SequenceUnderTest { seed, world };
        for _ in 0..STEPS {
            let done = sequence.world.step().await;
            done.unwrap_or_else(|error| panic!("{error:?}"));
        }
        let cleaned = sequence.world.clean().await;
        cleaned.unwrap_or_else(|error| panic!("{error:?}"));
        separate_races += sequence.world.separate_races as u64;
        beside_reader += sequence.world.expiries_beside_reader;
    }
    assert!(sequences < SEQUENCES || separate_races >= sequences, "{separate_races} races of separate regions");
    assert!(sequences < SEQUENCES || beside_reader > 0, "no snapshot expired that a planned query had not read");
}

/// Races a step in one city with a step in another, for all pairs of steps. For each pair, the common base snapshot
/// expires once before the second commits.
#[tokio::test(flavor = "multi_thread")]
async fn changes_in_two_partitions_both_commit() {
    let mut compactions = [0, 0];
    for (seed, mode) in ["copy-on-write", "merge-on-read"].into_iter().enumerate() {
        let world = World::new(seed as u64, Some(BY_CITY)).await.unwrap();
        world.set_mode(mode).await.unwrap();
        let mut sequence = SequenceUnderTest { seed: seed as u64, world };
        let pairs = CityStep::ALL.into_iter().flat_map(|first| CityStep::ALL.map(|second| [first, second]));
        for (place, kinds) in pairs.enumerate() {
            let raced = sequence.world.race_in_two_cities(kinds, (place + seed) % 2 == 0).await;
            let is_separate = raced.unwrap_or_else(|error| panic!("{error:?}"));
            // The cities of a compaction share are not known in advance.
            let compacts = kinds.map(|kind| kind == CityStep::Compact);
            assert!(is_separate || compacts != [false, false], "{kinds:?} touch each other");
            for (count, compacts) in compactions.iter_mut().zip(compacts) {
                *count += usize::from(is_separate && compacts);
            }
        }
        sequence.world.clean().await.unwrap_or_else(|error| panic!("{error:?}"));
        let beside_reader = sequence.world.expiries_beside_reader;
        assert!(beside_reader > 0, "{mode}: no snapshot expired that a planned query had not read");
    }
    assert!(
        compactions.into_iter().all(|count| count > 0),
        "races of separate regions with compactions: {compactions:?}"
    );
}

/// Prints the steps if a sequence fails.
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
