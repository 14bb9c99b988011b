//! Tests of the admission of waiting attempts. An attempt is written as `name: needs [holds …]`, and the decision about
//! it as text.

use super::*;
use crate::gates::{Counted, DEFAULT_POOL, Key, OverRuns};
use serde_json::Value;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// Parses pools and their usage: `db=2` is a pool of 2 slots, `db:1` is 1 slot in use, `rate:api@5` is an admission
/// that counts for another 5 s.
fn house(words: &str) -> House {
    let mut house = House { now: now(), ..House::default() };
    house.pools.insert(DEFAULT_POOL.into(), -1);
    for word in words.split_whitespace() {
        if let Some((limit, secs)) = word.split_once('@') {
            let until = now() + TimeDelta::seconds(secs.parse().unwrap());
            house.lately.entry(limit.into()).or_default().push((until, 1));
        } else if let Some((limit, taken)) = word.rsplit_once(':') {
            let limit = if limit.contains(':') { limit.into() } else { format!("pool:{limit}") };
            house.taken.insert(limit, taken.parse().unwrap());
        } else if let Some((pool, slots)) = word.split_once('=') {
            house.pools.insert(pool.into(), slots.parse().unwrap());
        }
    }
    house
}

/// Checks the decisions about attempts. Notation: `db` or `db*2` is a pool, `crm<3` a limit, `c[x]<1` a limit with a
/// key, `api<10/60` a rate limit, `t<<2` a limit across runs, `+x` a limit that the attempt already holds, `!` a reason
/// from the previous run.
fn check(there: &str, tries: &[(&str, &str)]) {
    let house = house(there);
    let parsed: Vec<_> = tries.iter().map(|(words, _)| parse(words)).collect();
    let waiting: Vec<Waiting<'_>> = parsed
        .iter()
        .map(|(gates, conf, holds, past)| Waiting { needs: gates.needs(Some(conf)), holds, past: past.clone() })
        .collect();
    let verdicts = decide(house, &waiting);
    for ((words, expected), verdict) in tries.iter().zip(verdicts) {
        let said = match verdict {
            Verdict::Go(_) => "go".into(),
            Verdict::Stay(reasons) => reasons.iter().map(short).collect::<Vec<_>>().join(", "),
        };
        assert_eq!(&said, expected, "`{words}` before {there}");
    }
}

fn short(reason: &Reason) -> String {
    match reason {
        Reason::PoolMissing { pool } => format!("no {pool}"),
        Reason::PoolTooSmall { pool, .. } => format!("{pool} too small"),
        Reason::PoolFull { pool, .. } => format!("{pool} full"),
        Reason::LimitFull { name, .. } => format!("{name} full"),
        Reason::TaskFull { task, .. } => format!("{task} full"),
        Reason::RateFull { name, again_at, .. } => format!("{name} in {}", (*again_at - now()).num_seconds()),
        other => other.name().to_string(),
    }
}

fn parse(words: &str) -> (Gates, Value, Vec<String>, Option<Reason>) {
    let mut gates = Gates { pool: DEFAULT_POOL.into(), slots: 1, limits: vec![], over_runs: None, past: None };
    let (mut conf, mut holds, mut past) = (serde_json::Map::new(), vec![], None);
    for word in words.split_whitespace() {
        if let Some(held) = word.strip_prefix('+') {
            holds.push(held.to_string());
        } else if word == "!" {
            past = Some(Reason::Past {
                run_id: "before".into(),
                task_id: "t".into(),
                state: orch_spec::state::TaskState::Failed,
            });
        } else if let Some((task, most)) = word.split_once("<<") {
            gates.over_runs = Some(OverRuns { task: task.into(), most: most.parse().unwrap() });
        } else if let Some((name, most)) = word.split_once('<') {
            let (most, per) = most.split_once('/').map_or((most, None), |(most, per)| (most, Some(per)));
            let (name, key) =
                name.split_once('[').map_or((name, None), |(name, key)| (name, Some(key.trim_end_matches(']'))));
            if let Some(key) = key {
                conf.insert(name.into(), key.into());
            }
            gates.limits.push(Counted {
                name: name.into(),
                most: most.parse().unwrap(),
                key: key.map(|_| Key { path: name.into(), default: Value::Null }),
                per_ms: per.map(|secs| secs.parse::<u64>().unwrap() * 1_000),
            });
        } else {
            let (pool, slots) = word.split_once('*').unwrap_or((word, "1"));
            (gates.pool, gates.slots) = (pool.into(), slots.parse().unwrap());
        }
    }
    (gates, Value::Object(conf), holds, past)
}

#[test]
fn a_pool_lets_in_as_many_as_it_has_slots_in_order() {
    check("db=2", &[("db", "go"), ("db", "go"), ("db", "db full")]);
    check("db=2 db:1", &[("db", "go"), ("db", "db full")]);
    check("db=0", &[("db", "db too small")]);
    check("db=-1 db:900", &[("db", "go"), ("db*40", "go")]);
    check("db=2 db:5", &[("db", "db full")]);
}

#[test]
fn a_pool_that_is_not_there_lets_nobody_in() {
    check("", &[("db", "no db"), ("other", "no other")]);
    check("", &[("", "go")]);
}

#[test]
fn whoever_wants_more_than_is_left_is_not_passed() {
    check("db=4 db:2", &[("db*3", "db full"), ("db", "db full")]);
    check("db=4 db:2", &[("db*2", "go"), ("db", "db full")]);
    // An attempt that can never start does not block others.
    check("db=4", &[("db*5", "db too small"), ("db", "go")]);
}

#[test]
fn limits_do_not_block_one_another() {
    check("a=1 a:1 b=1", &[("a", "a full"), ("b", "go")]);
    check("a=1 a:1", &[("a crm<1", "a full"), ("crm<1", "go")]);
    check("a=1 a:1 b=9 b:8", &[("b*3 crm<1", "b full"), ("crm<1", "go"), ("b", "b full")]);
    // The first attempt also waits for another limit, so the free slot is not reserved for it.
    check("b=9 b:8 limit:crm:1", &[("b*3 crm<1", "b full, crm full"), ("b", "go")]);
    check("b=9 b:8", &[("b*3 !", "Previous Dagrun State, b full"), ("b", "go")]);
}

#[test]
fn every_reason_is_said() {
    check("a=1 a:1 limit:crm:2", &[("a crm<2 ! t<<1", "Previous Dagrun State, a full, crm full")]);
    check("task:t:1", &[("db crm<1 t<<1", "no db, t full")]);
}

#[test]
fn a_limit_counts_each_key_by_itself() {
    check("", &[("c[x]<1", "go"), ("c[x]<1", "c full"), ("c[y]<1", "go")]);
    check("limit:c=x:1", &[("c[x]<1", "c full"), ("c[y]<1", "go"), ("c[]<1", "go"), ("c[]<1", "c full")]);
}

#[test]
fn a_task_may_be_limited_over_all_runs() {
    check("task:t:1", &[("t<<2", "go"), ("t<<2", "t full")]);
}

#[test]
fn a_rate_counts_who_was_let_in_lately() {
    check("", &[("api<2/60", "go"), ("api<2/60", "go"), ("api<2/60", "api in 60")]);
    check("rate:api@5 rate:api@9", &[("api<2/60", "api in 5")]);
    check("rate:api@5 rate:api@9", &[("api<1/60", "api in 9")]);
    // Admissions that have expired do not count.
    check("rate:api@-1 rate:api@9", &[("api<2/60", "go"), ("api<2/60", "api in 9")]);
    check("rate:c=x@5", &[("c[x]<1/60", "c in 5"), ("c[y]<1/60", "go")]);
}

#[test]
fn what_a_try_holds_already_it_does_not_need_again() {
    check("db=1 db:1", &[("db +pool:db", "go"), ("db", "db full")]);
    check("db=1 db:1 limit:crm:1", &[("db crm<1 +pool:db", "crm full")]);
    check("rate:api@5", &[("api<1/60 +rate:api", "go")]);
}

#[test]
fn the_default_pool_counts_once_it_has_a_size() {
    check("default_pool=1", &[("", "go"), ("crm<1", "default_pool full")]);
    check("default_pool=0", &[("", "default_pool too small")]);
    assert_eq!(
        decide(house(""), &[Waiting { needs: parse("").0.needs(None), holds: &[], past: None }]),
        [Verdict::Go(vec![])]
    );
}

#[test]
fn the_soonest_rate_says_when_to_look_again() {
    let parsed = [parse("api<1/60"), parse("slow<1/60"), parse("db")];
    let waiting: Vec<_> =
        parsed.iter().map(|(gates, ..)| Waiting { needs: gates.needs(None), holds: &[], past: None }).collect();
    let verdicts = decide(house("rate:api@9 rate:slow@4"), &waiting);
    assert_eq!(look_again(&verdicts), Some(now() + TimeDelta::seconds(4)));
}

#[test]
fn a_line_is_read_as_far_as_there_may_be_room() {
    let room = |there: &str, words: &str| house(there).room(&parse(words).0);
    assert_eq!(room("db=4 db:1", "db"), 3);
    assert_eq!(room("db=4 db:1", "db*2"), 1);
    assert_eq!(room("db=4 db:3", "db*2"), 1); // the attempt blocks those behind it
    assert_eq!(room("db=4 db:4", "db"), 0);
    assert_eq!(room("", "db"), 0);
    assert_eq!(room("db=9 limit:crm:2", "db crm<2"), 0);
    assert_eq!(room("db=9", "db c[x]<2"), 2); // for each run
    assert_eq!(room("db=1", "db c[x]<2"), 1);
    assert!(room("", "") > 1_000_000);
}

mod past {
    use crate::admission::past::{Before, past};
    use crate::gates::PastDependency;
    use crate::plan::Plan;
    use crate::run::{LEN, Run};
    use orch_spec::state::TaskState;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Plan in which `b` runs after `a`, `c` runs after `b`, and `m` is mapped over three elements.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(…)` reads better without a borrow")]
    fn plan(more: Value) -> Plan {
        let mut spec = json!({ "dag_id": "d", "tasks": [
            { "task_id": "a", "kind": "rust" },
            { "task_id": "b", "kind": "rust", "after": ["a"] },
            { "task_id": "c", "kind": "rust", "after": ["b"] },
            { "task_id": "m", "kind": "rust", "map": { "each": { "value": [1, 2, 3] } } },
        ] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Plan::new(Arc::new(serde_json::from_value(spec).unwrap())).unwrap()
    }

    /// Checks a gate. `before` lists the states of the previous run as `task=state`, and for `m` the number of elements
    /// per state.
    fn check(gate: PastDependency, task: &str, before: &str, expected: &str) {
        let plan = plan(json!({}));
        let mut run = Run::new(&plan);
        for word in before.split_whitespace() {
            let (id, state) = word.split_once('=').unwrap();
            let at = plan.index_of(id).unwrap();
            if let Some((state, many)) = state.split_once('*') {
                let slot = plan.task(at).map.unwrap().slot;
                run.counters[slot + LEN] = 3;
                let place = ["flight", "success", "failed", "skipped"].iter().position(|s| *s == state).unwrap();
                run.counters[slot + 2 + place] = many.parse().unwrap();
                run.ledger[usize::from(at)] = TaskState::Success.code();
            } else {
                run.ledger[usize::from(at)] = state.parse::<TaskState>().unwrap().code();
            }
        }
        let before = Before { run_id: "r1", logical_date: None, plan: &plan, run: &run };
        let said = past(gate, &plan, plan.index_of(task).unwrap(), Some(before));
        let said = said.map_or("go".into(), |reason| reason.words().split_once(", but ").unwrap().1.to_string());
        assert_eq!(said, expected, "{before:?}");
    }

    #[test]
    fn the_same_task_of_the_run_before_must_have_ended_well() {
        check(PastDependency::Task, "a", "a=success", "go");
        check(PastDependency::Task, "a", "a=skipped", "go");
        check(PastDependency::Task, "a", "a=failed", "'a' of the run before ('r1') is failed.");
        check(PastDependency::Task, "a", "a=upstream_failed", "'a' of the run before ('r1') is upstream_failed.");
        check(PastDependency::Task, "a", "a=queued", "'a' of the run before ('r1') is queued.");
        check(PastDependency::Task, "a", "", "'a' of the run before ('r1') is without a state.");
        check(PastDependency::Task, "a", "a=success b=failed", "go");
    }

    #[test]
    fn all_elements_of_a_mapped_task_must_have() {
        check(PastDependency::Task, "m", "m=success*3", "go");
        check(PastDependency::Task, "m", "m=success*2 m=skipped*1", "go");
        check(PastDependency::Task, "m", "m=success*2 m=failed*1", "'m' of the run before ('r1') is failed.");
        check(PastDependency::Task, "m", "m=success*2 m=flight*1", "'m' of the run before ('r1') is queued.");
        check(PastDependency::Task, "m", "m=success*2", "'m' of the run before ('r1') is without a state.");
    }

    #[test]
    fn wait_for_downstream_asks_those_directly_behind_too() {
        check(PastDependency::TaskAndDownstream, "a", "a=success b=success", "go");
        check(PastDependency::TaskAndDownstream, "a", "a=success b=skipped c=failed", "go");
        check(PastDependency::TaskAndDownstream, "a", "a=success b=failed", "'b' of the run before ('r1') is failed.");
        check(PastDependency::TaskAndDownstream, "a", "a=success", "'b' of the run before ('r1') is without a state.");
        check(PastDependency::TaskAndDownstream, "a", "a=failed b=failed", "'a' of the run before ('r1') is failed.");
        check(PastDependency::TaskAndDownstream, "c", "c=success", "go");
    }

    #[test]
    fn the_first_run_and_a_new_task_pass() {
        let new = plan(json!({}));
        assert_eq!(past(PastDependency::Task, &new, 0, None), None);
        let old = plan(json!({ "tasks": [{ "task_id": "other", "kind": "rust" }] }));
        let run = Run::new(&old);
        let before = Before { run_id: "r1", logical_date: None, plan: &old, run: &run };
        assert_eq!(past(PastDependency::TaskAndDownstream, &new, 0, Some(before)), None);
    }

    #[test]
    fn what_was_before_the_start_of_a_dag_that_catches_up_does_not_count() {
        let date = |text: &str| Some(text.parse().unwrap());
        let blocks = |catchup: bool, day: &str| {
            let plan = plan(json!({ "catchup": catchup, "start": "2026-01-05T00:00:00Z" }));
            let run = Run::new(&plan);
            past(
                PastDependency::Task,
                &plan,
                0,
                Some(Before { run_id: "r1", logical_date: date(day), plan: &plan, run: &run }),
            )
            .is_some()
        };
        assert!(!blocks(true, "2026-01-04T00:00:00Z"));
        assert!(blocks(true, "2026-01-05T00:00:00Z"));
        assert!(blocks(false, "2026-01-04T00:00:00Z"));
    }
}
