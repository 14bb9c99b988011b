//! Builds the SQL text of a worker step. Parts that have nothing to write are omitted, so each combination of parts has
//! a separate text, which each connection prepares once. `bind` must bind the parameters in the order in which they are
//! numbered here.

use super::alerts::Asks;
use super::{Mode, WorkerStep, alerts, asks, assets};
use crate::hint::{ANONYMOUS, CHANNEL, Hint};
use crate::leaf::Leaf;
use std::fmt::Write as _;

pub(super) const MOVES: u32 = 1;
pub(super) const ENDED: u32 = 1 << 1;
pub(super) const NEXT: u32 = 1 << 2;
pub(super) const KEEP: u32 = 1 << 3;
pub(super) const QUEUE: u32 = 1 << 4;
pub(super) const HOLD: u32 = 1 << 5;
pub(super) const ADMIT: u32 = 1 << 6;
pub(super) const DECIDED: u32 = 1 << 7;
pub(super) const OUTPUTS: u32 = 1 << 8;
pub(super) const FAILURES: u32 = 1 << 9;
pub(super) const CLAIM: u32 = 1 << 10;
pub(super) const ONE_QUEUE: u32 = 1 << 11;
pub(super) const STRICT: u32 = 1 << 12;
pub(super) const LOCKED: u32 = 1 << 13;
pub(super) const CLEARED: u32 = 1 << 14;
pub(super) const LOOK: u32 = 1 << 15;
pub(super) const RELEASE: u32 = 1 << 16;
pub(super) const EVENTS: u32 = 1 << 17;
pub(super) const EDGES: u32 = 1 << 18;
pub(super) const DEFER: u32 = 1 << 19;
pub(super) const TRY_ALERTS: u32 = 1 << 20;
pub(super) const RUN_ALERTS: u32 = 1 << 21;
pub(super) const ASK: u32 = 1 << 22;
pub(super) const ELEMENT_ALERTS: u32 = 1 << 23;
pub(super) const REASONS: u32 = 1 << 24;

/// Returns the parts of a step as a bit set, or 0 if the step is empty.
pub(super) fn shape(step: &WorkerStep) -> u32 {
    let mut shape = 0;
    let mut part = |bit: u32, present: bool| shape |= if present { bit } else { 0 };
    part(MOVES, !step.moves.is_empty());
    part(ENDED, !step.ended.is_empty());
    part(NEXT, step.ended.iter().any(|e| e.next.is_some()));
    part(KEEP, !step.keep.is_empty());
    part(QUEUE, !step.queue.is_empty());
    part(HOLD, !step.hold.is_empty());
    part(ADMIT, !step.admit.is_empty());
    part(DECIDED, !step.decided.is_empty());
    part(OUTPUTS, step.ended.iter().any(|e| !e.outputs.is_empty()));
    part(FAILURES, step.ended.iter().any(|e| e.failure.is_some()));
    part(EVENTS, assets::events(step).next().is_some());
    part(EDGES, assets::edges(step).next().is_some());
    part(CLAIM, step.claim.as_ref().is_some_and(|c| c.most > 0));
    if shape == 0 {
        return 0;
    }
    let mut part = |bit: u32, present: bool| shape |= if present { bit } else { 0 };
    part(LOOK, step.claim.as_ref().is_some_and(|c| c.most == 0));
    part(ONE_QUEUE, step.claim.as_ref().is_some_and(|c| c.queues.len() == 1));
    part(STRICT, step.mode == Mode::Strict && !step.ended.is_empty());
    part(LOCKED, matches!(step.mode, Mode::Locked { .. }));
    part(CLEARED, step.cleared);
    part(REASONS, !step.decided.is_empty() && !step.reasons.is_empty());
    part(RELEASE, step.release && !step.ended.is_empty());
    part(TRY_ALERTS, alerts::of_tries(step).next().is_some());
    part(ELEMENT_ALERTS, alerts::of_elements(step).next().is_some());
    part(RUN_ALERTS, !step.moves.is_empty() && !step.alerts.is_empty());
    part(DEFER, step.ended.iter().any(|e| e.next.as_ref().is_some_and(|n| n.wait.is_some())));
    part(ASK, asks::of(step).next().is_some());
    shape
}

/// Returns the SQL texts of common steps. A test checks their query plans.
pub fn text_variants(leaf: Option<Leaf>) -> Vec<String> {
    let strict = ENDED | STRICT;
    let shapes = [
        CLAIM | ONE_QUEUE,
        MOVES | strict | KEEP,
        MOVES | strict | KEEP | LOOK | ONE_QUEUE,
        MOVES | strict | KEEP | QUEUE | CLAIM | ONE_QUEUE,
        MOVES | strict | DECIDED | OUTPUTS | CLAIM | ONE_QUEUE,
        MOVES | strict | NEXT | FAILURES | CLAIM | ONE_QUEUE,
        MOVES | strict | RELEASE | QUEUE | CLAIM | ONE_QUEUE,
        ENDED | NEXT | FAILURES | OUTPUTS,
        MOVES | strict | KEEP | EVENTS | EDGES,
        ENDED | EVENTS | EDGES,
        MOVES | strict | FAILURES | TRY_ALERTS | RUN_ALERTS | CLAIM | ONE_QUEUE,
        ENDED | FAILURES | TRY_ALERTS,
        MOVES | strict | FAILURES | ELEMENT_ALERTS | CLAIM | ONE_QUEUE,
        ENDED | FAILURES | ELEMENT_ALERTS,
        MOVES | strict | NEXT | DEFER | CLAIM | ONE_QUEUE,
        MOVES | strict | NEXT | DEFER | ASK | CLAIM | ONE_QUEUE,
        ENDED | NEXT | DEFER | ASK | TRY_ALERTS,
        MOVES | LOCKED | KEEP | QUEUE | HOLD | ADMIT | DECIDED,
        MOVES | LOCKED | CLEARED | QUEUE | HOLD | DECIDED,
        MOVES | LOCKED | RUN_ALERTS,
        MOVES | strict | DECIDED | REASONS | CLAIM | ONE_QUEUE,
    ];
    shapes.into_iter().map(|shape| text(shape, leaf)).collect()
}

/// Generator of numbered SQL parameters: `$1::type`, `$2::type`, …
struct Numbers(u32);

impl Numbers {
    fn next(&mut self, of_type: &str) -> String {
        self.0 += 1;
        format!("${}::{of_type}", self.0)
    }

    fn unnest(&mut self, types: &[&str]) -> String {
        let all: Vec<String> = types.iter().map(|t| self.next(t)).collect();
        format!("unnest({})", all.join(", "))
    }
}

/// Maximum of the counters `try_no` and `max_tries`. If an instance is cleared more often, its counters stay at this
/// value.
const MOST_TRIES: i16 = i16::MAX;

const RUN: &str = "uuid[]";
const SMALL: &str = "smallint[]";
const INT: &str = "integer[]";
const TEXT: &str = "text[]";
const NEW_TRY: [&str; 9] = [RUN, SMALL, INT, RUN, INT, INT, INT, SMALL, INT];
const NEW_TRY_COLUMNS: &str = "run, task, map_index, attempt, version, queue, priority, retries, rev";

pub(super) fn text(shape: u32, leaf: Option<Leaf>) -> String {
    let has = |bit: u32| shape & bit != 0;
    let mut p = Numbers(0);
    let mut parts: Vec<String> = Vec::new();
    let mut replies: Vec<String> = Vec::new();
    let worker = p.next("integer");

    // Lock the rows of runs first, because the lock order is run before instances.
    if has(MOVES) {
        parts.push(format!(
            "n as materialized (select * from {} as n (run, rev, state, lo, hi, co, ci))",
            p.unnest(&[RUN, INT, TEXT, INT, INT, INT, INT])
        ));
        let (ledgers, counters) = (p.next(SMALL), p.next(INT));
        let xmin = if has(LOCKED) { format!("{}::xid8", p.next("text")) } else { "r.fold_xmin".into() };
        parts.push(format!(
            "cas as (update dag_run r set rev = n.rev + 1, state = n.state::run_state, fold_xmin = {xmin},
                ledger = ({ledgers})[n.lo:n.hi], counters = ({counters})[n.co:n.ci],
                ended_at = case when n.state in ('success', 'failed') then now() end
              from n where r.id = n.run and r.rev = n.rev and r.state = 'running' returning r.id)"
        ));
        replies.push(reply(0, "id, null", &[], "from cas"));
    }
    // This is a subquery and not a join: Postgres cannot turn a hashed subplan into a nested loop over two CTEs.
    let moved = |alias: &str| {
        if has(MOVES) { format!("where ({alias}.run in (select id from cas)) is true") } else { String::new() }
    };
    if has(ENDED) {
        parts.push(format!(
            "f as materialized (select * from {} with ordinality
                as f (run, task, map_index, attempt, lease_no, state, list_len, skip_lo, skip_hi, rev, place))",
            p.unnest(&[RUN, SMALL, INT, RUN, INT, TEXT, INT, INT, INT, INT])
        ));
        let (skips, hints) = (p.next(INT), p.next("boolean"));
        let instances = leaf.map_or_else(|| "task_instance".into(), |leaf| format!("task_instance_{leaf}"));
        let after_runs = if has(MOVES) { "and (select count(*) from cas) >= 0" } else { "" };
        parts.push(format!(
            "fin as (update {instances} t set state = f.state::task_state, ended_at = now(), rev_end = f.rev from f
              where t.run = f.run and t.task = f.task and t.map_index = f.map_index
                and t.attempt = f.attempt and t.lease_no = f.lease_no and t.state = 'running' {after_runs}
              returning t.*, f.list_len, ({skips})[f.skip_lo:f.skip_hi] as skip, f.place)"
        ));
        parts.push(format!(
            "unf as (insert into unfolded (run, task, map_index, state, list_len, skip)
              select run, task, map_index, case state when 'success' then 5 when 'failed' then 6 else 7 end, list_len,
                nullif(skip, '{{}}') from fin
              where state in ('success', 'failed', 'skipped') {} returning run)",
            if has(MOVES) { "and (run in (select id from cas)) is not true" } else { "" }
        ));
        if has(NEXT) {
            next_tries(&mut p, &mut parts, has(DEFER));
            if has(ASK) {
                asks::put(&p.unnest(&asks::TYPES), &mut parts);
            }
        }
        if has(RELEASE) {
            parts.push(RELEASES.into());
        }
        if has(OUTPUTS) {
            parts.push(format!(
                "o as materialized (select * from {} as o (place, key, value)),
                out as (insert into output (run, task, map_index, key, value)
                  select fin.run, fin.task, fin.map_index, o.key, o.value::json from o join fin on fin.place = o.place
                  on conflict (run, task, map_index, key) do update set value = excluded.value, parts = 0)",
                p.unnest(&["bigint[]", TEXT, TEXT])
            ));
        }
        if has(FAILURES) {
            parts.push(format!(
                "w as materialized (select * from {} as w (place, kind, causes)),
                why as (insert into failure (run, attempt, lease_no, kind, causes)
                  select fin.run, fin.attempt, fin.lease_no, w.kind, array(select json_array_elements_text(w.causes::json))
                  from w join fin on fin.place = w.place on conflict do nothing)",
                p.unnest(&["bigint[]", TEXT, TEXT])
            ));
        }
        if has(EVENTS) {
            assets::put_events(&p.unnest(&assets::EVENT_TYPES), &mut parts);
        }
        if has(EDGES) {
            assets::put_edges(&p.unnest(&assets::EDGE_TYPES), &mut parts);
        }
        if has(TRY_ALERTS) {
            let asks = if has(NEXT) && has(ASK) { Asks::People } else { Asks::Nobody };
            alerts::put_of_tries(&p.unnest(&alerts::OF_TRIES), asks, &mut parts);
        }
        if has(ELEMENT_ALERTS) {
            alerts::put_of_elements(&p.unnest(&alerts::OF_ELEMENTS), &mut parts);
        }
        replies.push(if has(STRICT) {
            // `fence_lost()` raises an error, which rolls back the whole statement.
            reply(9, "null, null", &["fence_lost()"], "where (select count(*) from fin) <> (select count(*) from f)")
        } else {
            reply(3, "run, attempt", &["map_index", "task"], "from fin")
        });
        let hint = format!(
            "from (select pg_notify('{CHANNEL}', '{ANONYMOUS} {}') from unf where {hints} limit 1) as hint",
            Hint::Recorded as u16
        );
        replies.push(reply(5, "null, null", &[], &hint));
    }
    if has(RUN_ALERTS) {
        alerts::put_of_runs(&p.unnest(&alerts::OF_RUNS), &mut parts);
    }
    if has(KEEP) {
        parts.push(format!(
            "kept as (insert into task_instance (run, task, map_index, attempt, worker, try_no, max_tries, lease_no, state,
                queued_at, started_at, rev_ready)
              select k.run, k.task, k.map_index, k.attempt, {worker}, 1, k.retries, 1, 'running', now(), now(), k.rev
              from {} as k ({NEW_TRY_COLUMNS}) {})",
            p.unnest(&NEW_TRY),
            moved("k")
        ));
    }
    // A new attempt is the first attempt of its instance, unless the run was cleared.
    let try_no = |alias: &str| {
        if has(CLEARED) {
            format!(
                "least(1 + coalesce((select t.try_no from task_instance t where t.run = {alias}.run and t.task = {alias}.task
                    and t.map_index = {alias}.map_index), 0), {MOST_TRIES})"
            )
        } else {
            "1".into()
        }
    };
    if has(QUEUE) {
        parts.push(format!(
            "q as (select q.*, {} as try_no from {} as q ({NEW_TRY_COLUMNS}) {}),
            enq as (insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no,
                lost_no, rev_ready)
              select run, task, map_index, attempt, version, queue, priority, try_no,
                least(try_no - 1 + retries, {MOST_TRIES}), 1, 0, rev from q)",
            try_no("q"),
            p.unnest(&NEW_TRY),
            moved("q")
        ));
    }
    if has(HOLD) {
        parts.push(format!(
            "hld as (insert into held (run, task, map_index, attempt, version, queue, priority, max_tries, rev_ready)
              select h.run, h.task, h.map_index, h.attempt, h.version, h.queue, h.priority, least({} - 1 + h.retries, {MOST_TRIES}), h.rev
              from {} as h ({NEW_TRY_COLUMNS}) {})",
            try_no("h"),
            p.unnest(&NEW_TRY),
            moved("h")
        ));
    }
    if has(ADMIT) {
        parts.push(format!(
            "a as materialized (select * from {} as a (run, task, most) {}),
            picked as materialized (select h.* from a, lateral (select run, task, map_index from held
                where run = a.run and task = a.task order by map_index limit a.most) h),
            freed as (delete from held h using picked
              where h.run = picked.run and h.task = picked.task and h.map_index = picked.map_index returning h.*),
            let_go as (insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries,
                lease_no, lost_no, rev_ready)
              select h.run, h.task, h.map_index, h.attempt, h.version, h.queue, h.priority, {}, h.max_tries, 1, 0, h.rev_ready
              from freed h)",
            p.unnest(&[RUN, SMALL, INT]),
            moved("a"),
            try_no("h")
        ));
    }
    if has(DECIDED) {
        parts.push(format!(
            "dec as (insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at)
              select d.run, d.task, d.map_index, gen_random_uuid(), 0, 0, 0, d.state::task_state, now()
              from {} as d (run, task, map_index, state) {}
              on conflict (run, task, map_index) do update set state = excluded.state, ended_at = excluded.ended_at,
                worker = null returning run, task, map_index, attempt, lease_no)",
            p.unnest(&[RUN, SMALL, INT, TEXT]),
            moved("d")
        ));
        if has(REASONS) {
            parts.push(format!(
                "reasons as (insert into failure (run, attempt, lease_no, kind, causes)
                  select dec.run, dec.attempt, dec.lease_no, 'fatal', array[w.reason] from {} as w (run, task, reason)
                  join dec on dec.run = w.run and dec.task = w.task and dec.map_index = -1 on conflict do nothing)",
                p.unnest(&[RUN, SMALL, TEXT])
            ));
        }
    }
    if has(CLAIM) {
        let most = p.next("integer");
        let takes = takes(&mut p, has(ONE_QUEUE));
        claim(&most, &takes, &worker, &mut parts, &mut replies);
    }
    if has(LOOK) {
        let takes = takes(&mut p, has(ONE_QUEUE));
        let most_urgent = format!("(select priority from ready where {takes} order by priority desc, seq limit 1)");
        replies.push(reply(4, "null, null", &[&most_urgent], ""));
    }
    if replies.is_empty() {
        replies.push(reply(8, "null, null", &[], ""));
    }
    format!("with {}\n{}", parts.join(",\n"), replies.join("\nunion all "))
}

/// Releases the pool slots of ended attempts. A deferred attempt keeps its slots in pools that count deferred attempts.
const RELEASES: &str = "rel as (delete from slot s using fin where s.attempt = fin.attempt
      and (fin.state <> 'deferred' or not exists (select from pool p
        where s.limit_name = 'pool:' || p.name and p.include_deferred)))";

/// Writes how unfinished instances continue. A retry moves the old attempt to the history; a reschedule or deferral
/// continues the same attempt. Each may wait for a time, and a deferral may also wait for a condition.
fn next_tries(p: &mut Numbers, parts: &mut Vec<String>, defer: bool) {
    let place = if defer { ", fin.place" } else { "" };
    parts.push(format!(
        "x as materialized (select * from {} as x (place, attempt, wake_in_ms, version, queue, priority)),
        nxt as materialized (select fin.run, fin.task, fin.map_index, x.attempt, x.version, x.queue, x.priority, fin.state,
            case fin.state when 'up_for_retry' then least(fin.try_no + 1, {MOST_TRIES}) else fin.try_no end as try_no, fin.max_tries,
            case fin.state when 'up_for_retry' then 1 else fin.lease_no + 1 end as lease_no, fin.lost_no, fin.rev_end,
            x.wake_in_ms{place}
          from x join fin on fin.place = x.place),
        hist as (insert into attempt (run, task, map_index, attempt, worker, rev_ready, rev_end, try_no, max_tries, lease_no,
            lost_no, state, queued_at, started_at, ended_at)
          select run, task, map_index, attempt, worker, rev_ready, rev_end, try_no, max_tries, lease_no, lost_no, state,
            queued_at, started_at, ended_at from fin where state = 'up_for_retry'),
        soon as (insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no,
            lost_no, rev_ready)
          select run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_end
          from nxt where wake_in_ms <= 0)",
        p.unnest(&["bigint[]", RUN, "bigint[]", INT, INT, INT])
    ));
    let columns = "run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no";
    if defer {
        parts.push(format!(
            "d as materialized (select * from {} as d (d_place, kind, config, at, poke_ms, timeout_ms, on_timeout, carried)),
            wai as (insert into waiting ({columns}, rev_ready, state, wake_at, kind, config, poke_ms, give_up_at, on_timeout,
                carried, answer)
              select {columns}, rev_end, state, case when kind is null then least(wake_at, give_up_at) else wake_at end, kind,
                config::json, coalesce(poke_ms, 0), case when kind is not null then give_up_at end,
                coalesce(on_timeout, 'fail'), carried::json,
                case when state <> 'deferred' or kind is not null then null
                  when give_up_at < wake_at then json_build_object('timed_out', on_timeout)
                  else json_build_object('met', null::json) end
              from (select *, coalesce(d.at, now() + nxt.wake_in_ms * interval '1 millisecond') as wake_at,
                  now() + d.timeout_ms * interval '1 millisecond' as give_up_at
                from nxt left join d on d.d_place = nxt.place) n
              where wake_in_ms > 0)",
            p.unnest(&["bigint[]", TEXT, TEXT, "timestamptz[]", "bigint[]", "bigint[]", TEXT, TEXT])
        ));
    } else {
        parts.push(format!(
            "wai as (insert into waiting ({columns}, rev_ready, state, wake_at)
              select {columns}, rev_end, state, now() + wake_in_ms * interval '1 millisecond' from nxt where wake_in_ms > 0)"
        ));
    }
}

/// Returns the SQL condition that selects the attempts that the worker is able to run.
fn takes(p: &mut Numbers, one_queue: bool) -> String {
    let (queues, versions) = (p.next(INT), p.next(INT));
    let queue = if one_queue { format!("queue = ({queues})[1]") } else { format!("queue = any({queues})") };
    format!("{queue} and version = any({versions})")
}

/// Claims the most urgent rows that no other worker is claiming. Claims none if this worker was declared lost. If a
/// claimed instance already has a row in `task_instance`, the row is from an earlier attempt or lease and is updated.
fn claim(most: &str, takes: &str, worker: &str, parts: &mut Vec<String>, replies: &mut Vec<String>) {
    parts.push(format!(
        "clm as (delete from ready where ctid = any(array(
            select ctid from ready where {takes}
              and (select w.state in ('running', 'draining') from worker w where w.id = {worker})
            order by priority desc, seq limit {most} for update skip locked))
          returning run, task, map_index, attempt, version, try_no, max_tries, lease_no, lost_no, queued_at, rev_ready)"
    ));
    parts.push(format!(
        "taken as (insert into task_instance as t (run, task, map_index, attempt, worker, try_no, max_tries, lease_no, lost_no,
            state, queued_at, started_at, rev_ready)
          select run, task, map_index, attempt, {worker}, try_no, max_tries, lease_no, lost_no, 'running', queued_at, now(),
            rev_ready from clm
          on conflict (run, task, map_index) do update set attempt = excluded.attempt, worker = excluded.worker,
            try_no = excluded.try_no, max_tries = excluded.max_tries, lease_no = excluded.lease_no,
            lost_no = excluded.lost_no, state = 'running', queued_at = excluded.queued_at,
            started_at = case when t.attempt = excluded.attempt then t.started_at else excluded.started_at end,
            ended_at = null, rev_ready = excluded.rev_ready, rev_end = null)"
    ));
    replies.push(reply(
        1,
        "run, attempt",
        &["map_index", "task", "version", "try_no", "max_tries", "lease_no", "lost_no"],
        "from clm",
    ));
    replies.push(
        "select 2::smallint, r.id, null, r.rev, r.version, r.clear_number, r.ledger_format, null, null, null, r.ledger, r.counters,
          r.dag_id, r.run_id, r.run_type::text, (select conf::text from dag_run_detail d where d.run = r.id),
          r.logical_date, r.interval_start, r.interval_end, r.run_after, r.partition_key
        from (select distinct run from clm) c, lateral (select * from dag_run r where r.id = c.run) r"
            .into(),
    );
}

/// Returns one branch of the reply, which is a `union all`: the kind of the branch, the run and attempt, and up to
/// seven numbers. All branches must have the same columns.
fn reply(kind: i16, ids: &str, numbers: &[&str], from: &str) -> String {
    let mut columns = String::new();
    for at in 0..7 {
        let number = numbers.get(at).copied().unwrap_or("null");
        write!(columns, "{number}::integer, ").expect("a string can grow");
    }
    let (run, attempt) = ids.split_once(", ").expect("two ids");
    format!(
        "select {kind}::smallint, {run}::uuid, {attempt}::uuid, {columns}null::smallint[], null::integer[], null::text,
        null::text, null::text, null::text, null::timestamptz, null::timestamptz, null::timestamptz, null::timestamptz, null::text {from}"
    )
}
