//! Transactions lock rows in one order (`store/src/locks.rs`). The types guarantee it only if no function calls
//! `Locks::begin` in the middle of a transaction.

use crate::workspace::{assert_none, texts};

/// Files with code that begins the transactions in which it locks rows, or that sends single statements.
const BEGINNERS: [&str; 25] = [
    "cli/binary/src/trial.rs",
    "scheduler/src/admit.rs",
    "scheduler/src/assets.rs",
    "scheduler/src/mend.rs",
    "scheduler/src/runs.rs",
    "scheduler/src/upkeep.rs",
    "store/src/hot.rs",
    "streams/src/publish/runs.rs",
    "web/src/api/backfills.rs",
    "web/src/api/clearing.rs",
    "web/src/api/dag_runs/bulk.rs",
    "web/src/api/dag_runs/change.rs",
    "web/src/api/dag_runs/relocate.rs",
    "web/src/api/dag_runs/trigger.rs",
    "web/src/api/dags/change.rs",
    "web/src/api/presets.rs",
    "web/src/api/task_instances/bulk.rs",
    "web/src/api/task_instances/mark.rs",
    "web/src/pages/dag/trigger.rs",
    "web/src/pages/run/change.rs",
    "web/src/pages/run/mark_chosen.rs",
    "web/src/pages/runs/change.rs",
    "web/src/pages/task/mark.rs",
    "workers/src/heartbeat/thread.rs",
    "workers/src/host.rs",
];

#[test]
fn only_code_that_begins_a_transaction_begins_its_locks() {
    let begins = |content: &str| {
        let mut code = content.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.any(|line| line.contains("Locks::begin()"))
    };
    let mut offenders = Vec::new();
    for file in texts().iter().filter(|file| file.is_rust() && !file.is_test()) {
        let name = file.name();
        match (begins(file.product()), BEGINNERS.contains(&name.as_str())) {
            (true, false) => offenders.push(format!("{name}: take `Locks` from the code that begins the transaction")),
            (false, true) => offenders.push(format!("{name}: is listed in BEGINNERS and begins no locks")),
            _ => {}
        }
    }
    assert_none("`Locks::begin` in the middle of a transaction", &offenders);
}
