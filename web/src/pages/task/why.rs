//! Explains the state of a task instance: one sentence, and the checklist behind it.

use crate::pages::run::failure::{Beyond, elements_failed, in_words};
use crate::parts::{self, ZonedNow};
use orch_core::plan::Plan;
use orch_core::run::Run;
use orch_core::why::Reason;
use orch_spec::state::{RunState, TaskState};
use orch_store::instance::{InstanceRow, Ledger, TryRow};
use orch_store::run::RunDetails;
use orch_store::why::{BlockingReason, Holder};

#[derive(Debug)]
pub(in crate::pages) struct StateExplanation {
    pub(in crate::pages) sentence: String,
    pub(in crate::pages) more: String,
    pub(super) checks: Vec<Check>,
    /// Downstream tasks.
    pub(super) behind: Vec<Check>,
}

#[derive(Debug)]
pub(super) struct Check {
    pub(super) state: parts::State,
    pub(super) words: String,
    pub(super) note: String,
    pub(super) is_here: bool,
}

const MOST_CHECKS: usize = 12;
/// Maximum number of instances named that hold the limit.
const MOST_HOLDERS: usize = 3;

impl StateExplanation {
    pub(super) fn of(
        ledger: &Ledger,
        instance: &InstanceRow,
        (tries, beyond): (&[TryRow], &Beyond),
        run: &RunDetails,
        now: ZonedNow,
        blocked: &[BlockingReason],
    ) -> StateExplanation {
        let plan = &ledger.version.plan;
        let planned = plan.task(instance.task);
        let upstream: Vec<(u16, TaskState)> =
            planned.up.iter().chain(&planned.setups).map(|edge| (edge.task, ledger.run.task(edge.task))).collect();
        let (mut sentence, mut more) = match of_elements(&ledger.run, plan, instance) {
            Some(sentence) => (sentence, beyond.first_error().or(beyond.ending.clone()).unwrap_or_default()),
            None => sentence(plan, instance, (tries, beyond), run, &upstream, now),
        };
        // A gate, a run that has not started or a missing worker explains more than the state alone.
        let told = blocked.iter().filter(|one| tells(&one.reason));
        let is_claimable = instance.state == TaskState::Queued;
        if let Some(first) = told.clone().next().filter(|_| !is_claimable) {
            sentence = first.reason.words();
            more = holders(first);
        }
        let mut checks: Vec<Check> = Vec::new();
        for &(task, state) in upstream.iter().take(MOST_CHECKS) {
            // The ledger does not distinguish queued from running tasks.
            let words = if state == TaskState::Queued { "is not over".into() } else { parts::words(state.as_str()) };
            checks.push(Check {
                state: parts::bare(if state == TaskState::Queued { "running" } else { state.as_str() }),
                words: format!("{}: {words}", plan.task_id(task)),
                note: String::new(),
                is_here: !state.is_finished() && tries.is_empty(),
            });
        }
        if upstream.is_empty() {
            checks.push(check("success", "no task before it", String::new()));
        }
        for one in tries.iter().rev().take(MOST_CHECKS).rev() {
            let took =
                one.started_at.map(|at| parts::duration(one.ended_at.unwrap_or(now.at) - at)).unwrap_or_default();
            let host = one.hostname.as_ref().map(|host| format!(", {host}")).unwrap_or_default();
            let kind = one.failure.as_deref().map(|kind| format!(": {}", failure_words(kind))).unwrap_or_default();
            if let Some(lost) = lost(one) {
                checks.push(check("restarting", &format!("try {}: {lost}", one.try_no), String::new()));
            }
            let mut check = check(one.state.as_str(), &format!("try {}{host}{kind}", one.try_no), took);
            check.is_here = tries.last().is_some_and(|last| last.attempt == one.attempt);
            checks.push(check);
        }
        for one in told.skip(usize::from(!is_claimable)).take(MOST_CHECKS) {
            let mut check = check("scheduled", &one.reason.words(), String::new());
            check.is_here = true;
            checks.push(check);
        }
        // A task that waits for an answer has no time at which it continues.
        if let Some(at) = instance.wake_at.filter(|_| instance.state != TaskState::AwaitingInput) {
            let what = if instance.state == TaskState::UpForRetry { "next try" } else { "next poll" };
            let left = parts::duration((at - now).max(chrono::TimeDelta::zero()));
            let mut check = check(instance.state.as_str(), what, format!("in {left}"));
            check.is_here = true;
            checks.push(check);
        }
        let behind = planned.down.iter().take(MOST_CHECKS).map(|edge| {
            let state = ledger.run.task(edge.task);
            check(state.as_str(), plan.task_id(edge.task), String::new())
        });
        StateExplanation { sentence, more, checks, behind: behind.collect() }
    }
}

/// Returns the text for the kind of a failure. Whether a failed attempt is retried also depends on its task, so no
/// kind is described as retryable.
fn failure_words(kind: &str) -> &str {
    match kind {
        "retryable" => "failed",
        "fatal" => "failed, not to be retried",
        "timeout" => "timed out",
        "panic" => "panicked",
        "lost" => "its worker was lost",
        "exit" => "its process ended early",
        other => other,
    }
}

/// Returns true if the reason explains more than the sentence for the state.
fn tells(reason: &Reason) -> bool {
    !matches!(
        reason,
        Reason::Upstream { .. }
            | Reason::Retry { .. }
            | Reason::Reschedule { .. }
            | Reason::Deferred { .. }
            | Reason::Input { .. }
    )
}

/// Returns a note on the lost workers of an attempt.
fn lost(one: &TryRow) -> Option<String> {
    match one.lost_no {
        0 => None,
        1 => Some("its worker was lost, and it began again".into()),
        many => Some(format!("{many} workers of it were lost; it began again each time")),
    }
    .filter(|_| one.failure.as_deref() != Some("lost") || one.lost_no > 1)
}

/// Returns the instances that hold the limit, in one line.
fn holders(of: &BlockingReason) -> String {
    let name = |one: &Holder| match one.map_index {
        -1 => format!("{} of {}", one.task_id, one.run_id),
        index => format!("{} [{index}] of {}", one.task_id, one.run_id),
    };
    let first: Vec<String> = of.holders.iter().take(MOST_HOLDERS).map(name).collect();
    match of.holders.len().saturating_sub(MOST_HOLDERS) {
        _ if first.is_empty() => String::new(),
        0 => format!("In it: {}.", first.join(", ")),
        more => format!("In it: {} and {more} more.", first.join(", ")),
    }
}

fn check(state: &'static str, words: &str, note: String) -> Check {
    Check { state: parts::bare(state), words: words.into(), note, is_here: false }
}

/// Returns the outcome of the elements, for a mapped task as a whole.
fn of_elements(run: &Run, plan: &Plan, instance: &InstanceRow) -> Option<String> {
    let planned = plan.task(instance.task);
    let len = run.len(planned).filter(|len| *len > 0 && instance.map_index < 0)?;
    let counts = run.element_counts(planned)?;
    let many = |wanted: &dyn Fn(TaskState) -> bool| -> i32 {
        counts.iter().filter(|(state, _)| wanted(*state)).map(|(_, count)| count).sum()
    };
    let of = parts::counted(len, "element");
    match instance.state {
        TaskState::Failed => Some(format!("{} failed.", elements_failed(run, planned)?)),
        TaskState::Success => Some(format!("{} of {of} succeeded.", many(&|state| state == TaskState::Success))),
        state if state.is_finished() => None,
        _ => {
            let failed = match many(&|state| state == TaskState::Failed) {
                0 => String::new(),
                failed => format!(", {failed} of them failed"),
            };
            Some(format!("{} of {of} are over{failed}.", many(&TaskState::is_finished)))
        }
    }
}

fn failed(tries: &[TryRow], beyond: &Beyond) -> (String, String) {
    if let Some(ending) = &beyond.ending {
        return ("No try of it failed.".into(), ending.clone());
    }
    // An attempt that succeeded may have been cleared since.
    let failed: Vec<_> = tries.iter().filter(|one| one.failure.is_some() && one.state != TaskState::Success).collect();
    let causes = failed.last().map(|last| in_words(&last.causes)).unwrap_or_default();
    let same = failed.iter().all(|one| in_words(&one.causes) == causes);
    match failed.len() {
        0 => ("It failed.".into(), beyond.first_error().unwrap_or(causes)),
        1 => ("It failed.".into(), causes),
        many if same => (format!("It failed {many} times with the same error."), causes),
        many => (format!("It failed {many} times, the last time with:"), causes),
    }
}

fn sentence(
    plan: &Plan,
    instance: &InstanceRow,
    (tries, beyond): (&[TryRow], &Beyond),
    run: &RunDetails,
    upstream: &[(u16, TaskState)],
    now: ZonedNow,
) -> (String, String) {
    let named = |wanted: &dyn Fn(TaskState) -> bool| {
        let names: Vec<_> =
            upstream.iter().filter(|(_, state)| wanted(*state)).map(|(task, _)| plan.task_id(*task)).collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => (*one).to_string(),
            [one, two] => format!("{one} and {two}"),
            [one, rest @ ..] => format!("{one} and {} more", rest.len()),
        }
    };
    let of_tries = format!("Try {} of {}.", instance.try_no, instance.max_tries + 1);
    match instance.state {
        TaskState::None if run.state == RunState::Queued => ("The run has not begun.".into(), String::new()),
        TaskState::None => {
            let open = named(&|state| !state.is_finished());
            if open.is_empty() {
                ("It is about to be decided.".into(), String::new())
            } else {
                (format!("Waits for {open}."), "It is decided as soon as its trigger rule can tell.".into())
            }
        }
        TaskState::Scheduled => {
            ("Waits for a limit of its DAG.".into(), "As many tasks as are allowed at a time are running.".into())
        }
        TaskState::Queued => {
            let since = instance.queued_at.map(|at| format!(", since {}", parts::duration(now - at)));
            let queue = &plan.task(instance.task).queue;
            let again = if instance.lost_no > 0 { " Its worker was lost." } else { "" };
            (format!("Waits for a worker of queue {queue}{}.", since.unwrap_or_default()), of_tries + again)
        }
        TaskState::Running => {
            let since = instance.started_at.map(|at| format!(" for {}", parts::duration(now - at)));
            let again = tries.last().and_then(lost).map(|lost| format!(" In try {}, {lost}.", instance.try_no));
            (format!("Running{}.", since.unwrap_or_default()), of_tries + &again.unwrap_or_default())
        }
        TaskState::Restarting => ("It is being stopped, to run again.".into(), of_tries),
        TaskState::UpForRetry | TaskState::UpForReschedule | TaskState::Deferred => {
            let at = instance
                .wake_at
                .map(|at| format!(" in {}", parts::duration((at - now).max(chrono::TimeDelta::zero()))));
            let what = if instance.state == TaskState::UpForRetry { "The next try begins" } else { "The next poll is" };
            let cause = tries.last().map(|last| in_words(&last.causes)).unwrap_or_default();
            (format!("{what}{}.", at.unwrap_or_default()), cause)
        }
        TaskState::AwaitingInput => ("It waits for an answer.".into(), String::new()),
        TaskState::Success => {
            let took = instance.started_at.zip(instance.ended_at).map(|(from, to)| parts::duration(to - from));
            let tried = if instance.try_no > 1 { of_tries } else { String::new() };
            (took.map_or("Done.".into(), |took| format!("Done in {took}.")), tried)
        }
        TaskState::Failed => failed(tries, beyond),
        TaskState::UpstreamFailed => {
            let failed = named(&TaskState::is_failed);
            (format!("Did not start because {failed} failed."), String::new())
        }
        TaskState::Skipped => {
            let skipped = named(&|state| state == TaskState::Skipped);
            let why = if skipped.is_empty() { String::new() } else { format!("{skipped} was skipped, too.") };
            ("Not needed in this run.".into(), why)
        }
        TaskState::Removed => ("It is no longer in the DAG.".into(), String::new()),
    }
}
