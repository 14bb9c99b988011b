//! Simulates many seeds without violation, detects each planted bug, and replays a seed identically.

use orch_sim::{Mutant, Report, SimulationOptions, simulate, simulate_many, simulate_until_wrong};

/// 500 seeds take some seconds on two cores.
fn seeds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "what a test run may take is said by the environment")]
    let long = std::env::var("ORCH_TEST_LONG").is_ok();
    if long { 20_000 } else { 500 }
}

fn tell(wrong: &[Report]) -> String {
    let mut text = format!("{} seeds went wrong\n", wrong.len());
    for Report { seed, violation, .. } in wrong {
        let what = violation.as_deref().unwrap_or_default();
        text.extend([format!("seed {seed}: {what}\n  replay: cargo run -p orch-sim -- --seed {seed} --trace\n")]);
    }
    text
}

#[test]
fn whatever_goes_wrong_every_run_ends_as_the_core_says() {
    let wrong = simulate_many(0..seeds(), None);
    assert!(wrong.is_empty(), "{}", tell(&wrong));
}

#[test]
fn a_seed_replays_to_the_letter() {
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| simulate(&SimulationOptions { seed, whole_trace: true, mutant: None }));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
        assert_eq!((first.took, first.violation), (second.took, second.violation), "seed {seed}");
    }
}

#[test]
fn every_planted_mistake_is_noticed() {
    let mut unnoticed = Vec::new();
    for mutant in Mutant::ALL {
        match simulate_until_wrong(0..2_000, Some(mutant)) {
            Some(caught) => {
                eprintln!("{mutant:?}: seed {}, {:.150}", caught.seed, caught.violation.unwrap_or_default());
            }
            None => unnoticed.push(mutant),
        }
    }
    assert_eq!(unnoticed, [], "these go unnoticed");
}
