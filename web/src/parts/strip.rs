//! The last outcomes of a check as a strip, newest at the right. A low bar means that the check passed; a full bar with
//! a line below, that it did not.

use super::Escaped;
use askama::filters::HtmlSafe;
use orch_spec::asset::CheckOutcome;
use std::fmt;

#[derive(Debug, Clone)]
pub(crate) struct Strip {
    of: String,
    outcomes: Vec<CheckOutcome>,
}

const STEP: usize = 5;
const HEIGHT: usize = 20;
const LOW: usize = 7;

impl Strip {
    pub(crate) const PLACES: usize = 30;

    /// Takes the outcomes newest first.
    pub(crate) fn new(of: &str, outcomes: impl Iterator<Item = CheckOutcome>) -> Strip {
        let mut outcomes: Vec<_> = outcomes.take(Strip::PLACES).collect();
        outcomes.reverse();
        Strip { of: of.into(), outcomes }
    }
}

/// Returns the state whose color and symbol represent an outcome.
pub(crate) const fn as_state(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Pass => "success",
        CheckOutcome::Warn => "up_for_retry",
        CheckOutcome::Fail => "failed",
        CheckOutcome::Quarantined => "deferred",
    }
}

impl fmt::Display for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = Strip::PLACES * STEP - 1;
        let passed = self.outcomes.iter().filter(|outcome| **outcome == CheckOutcome::Pass).count();
        write!(
            f,
            r#"<svg class="bars" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="last {} results of {}: {passed} passed">"#,
            self.outcomes.len(),
            Escaped(&self.of),
        )?;
        let left = (Strip::PLACES - self.outcomes.len()) * STEP;
        for (place, outcome) in self.outcomes.iter().enumerate() {
            let (x, bar, state) = (left + place * STEP, STEP - 1, as_state(*outcome));
            let base = HEIGHT - 4;
            let tall = if *outcome == CheckOutcome::Pass { LOW } else { base };
            write!(
                f,
                r#"<rect class="b s-{state}" x="{x}" y="{}" width="{bar}" height="{tall}" rx="1"><title>{outcome}</title></rect>"#,
                base - tall
            )?;
            if *outcome != CheckOutcome::Pass {
                write!(f, r#"<rect class="b s-{state}" x="{x}" y="{}" width="{bar}" height="2"/>"#, HEIGHT - 2)?;
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Strip {}
