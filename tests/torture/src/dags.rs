//! The DAGs that run while faults are injected: small, of every shape, each with a predictable end.
//!
//! The name of a task determines how it ends, and `script` reads it there: `fail…`, `skip…`, `never…` (a timeout),
//! `list…` (a list of `ELEMENTS`), `choose…`, `closed…`; all other tasks succeed, some of them after several attempts.

use crate::ledger::Mark;
use orch::completion;
use orch::prelude::*;
use std::time::Duration;

/// Number of elements of lists that tasks return.
pub const ELEMENTS: u64 = 20;
const FAN: u32 = 50;
/// Durations of task functions that should be running when their worker is killed.
const LONG_MS: [u64; 4] = [800, 500, 350, 200];
/// Durations that exceed a lease plus the time until another worker takes the task over.
const SLOW_MS: [u64; 3] = [4_000, 3_500, 3_000];
/// More than twice the number of slots of a worker.
const ECHOES: u32 = 40;
/// Number of polls until the sensor succeeds. Each poll has its own lease, and each lost worker adds one.
const LOOKS: i32 = 3;

/// Returns all DAGs except the scheduled one. Version 2 has another structure that is compatible with runs of version
/// 1.
pub fn all(version: u32) -> Vec<Dag> {
    let more = version > 1;
    vec![
        chain(more),
        diamond(more),
        fan(more),
        mapped(more),
        mapped_group(more),
        retries(more),
        long(more),
        timeouts(more),
        choices(more),
        fragile(),
        sensor_dag(more),
        echo_dag(more),
        publishing(more),
    ]
}

/// Creates the table that `publish` writes to: one row per attempt that was committed with its success. The lock
/// serializes workers that start at the same time.
pub const PUBLISHED: &str = "select pg_advisory_xact_lock(4711);
    create table if not exists lake.published (run uuid not null, task_id text not null, map_index integer not null,
        attempt uuid not null, lease_no integer not null)";

/// Returns DAGs for single scenarios in which task functions run longer than a lease.
pub fn slow() -> Vec<Dag> {
    let slow = torture("slow").build(|d| {
        let start = d.add(work(10).id("start"));
        let wide: Vec<_> = SLOW_MS.iter().map(|&ms| d.add(work(ms).id(format!("slow_{ms}")).after(start))).collect();
        let child = d.add(work(SLOW_MS[0]).id("child").isolation(Isolation::Process).after(start));
        d.add(work(5).id("join").after((wide, child)));
    });
    // More tasks than a worker has slots, so that each live worker takes some of the echoes.
    let handover = torture("handover").build(|d| {
        let words = d.add(origin());
        let pause = d.add(work(SLOW_MS[2]).id("pause").after(words));
        for number in 0..ECHOES {
            d.add(echo(words).id(format!("echo_{number}")).after(pause));
        }
    });
    vec![slow, handover]
}

/// Returns a DAG with a run for each second since `start`, including the missed ones.
pub fn ticking(start: &str) -> Dag {
    torture("ticking").schedule(every(secs(1))).start(start).catchup().build(|d| {
        d.add(flaky(1).retry_delay(millis(50)).id("flaky"));
    })
}

/// Returns a DAG that is never paused, limited, or failed because its worker was lost too often.
pub(crate) fn torture(dag_id: &str) -> orch::DagBuilder {
    dag(dag_id).unpaused().max_active_runs(1_000).defaults(defaults().on_lost(OnLost::Retry(1_000)))
}

pub(crate) async fn works(ctx: &Ctx, ms: u64) {
    let mark = Mark::start(ctx);
    ctx.info("begun");
    tokio::time::sleep(Duration::from_millis(ms)).await;
    mark.end();
}

#[task]
async fn step(ctx: Ctx, count: u64, ms: u64) -> TaskResult<u64> {
    works(&ctx, ms).await;
    Ok(count + 1)
}

#[task]
pub(crate) async fn work(ctx: Ctx, ms: u64) -> TaskResult<u64> {
    works(&ctx, ms).await;
    Ok(ms)
}

#[task]
async fn fail(ctx: Ctx) -> TaskResult<u64> {
    Mark::start(&ctx).fail();
    Err(fatal("as the script says"))
}

#[task]
async fn skip_it(ctx: Ctx) -> TaskResult<u64> {
    Mark::start(&ctx).fail();
    Err(skip("as the script says"))
}

/// Fails so often, then not.
#[task(retries = 5, retry_delay = millis(150))]
pub(crate) async fn flaky(ctx: Ctx, failures: u32) -> TaskResult<u32> {
    let mark = Mark::start(&ctx);
    tokio::time::sleep(Duration::from_millis(10)).await;
    if ctx.try_number() <= failures {
        mark.fail();
        bail!("try {} of {failures} that fail", ctx.try_number());
    }
    mark.end();
    Ok(ctx.try_number())
}

/// Hangs at its first try and is ended by its timeout.
#[task(retries = 1, retry_delay = millis(0), timeout = millis(150))]
async fn hangs_once(ctx: Ctx) -> TaskResult<u32> {
    if ctx.try_number() == 1 {
        return hang(&ctx).await;
    }
    Mark::start(&ctx).end();
    Ok(ctx.try_number())
}

#[task(timeout = millis(100))]
async fn never(ctx: Ctx) -> TaskResult<u32> {
    hang(&ctx).await
}

async fn hang(ctx: &Ctx) -> TaskResult<u32> {
    let mark = Mark::start(ctx);
    ctx.cancelled().await;
    mark.fail();
    bail!("it was told to stop")
}

#[task]
pub(crate) async fn list(ctx: Ctx) -> TaskResult<Vec<u64>> {
    works(&ctx, 5).await;
    Ok((0..ELEMENTS).collect())
}

#[task]
async fn double(ctx: Ctx, number: u64) -> TaskResult<u64> {
    works(&ctx, 10 + 5 * (number % 4)).await;
    Ok(number * 2)
}

#[task(trigger_rule = AllDone)]
async fn total(ctx: Ctx, numbers: Vec<Option<u64>>) -> TaskResult<u64> {
    works(&ctx, 5).await;
    Ok(numbers.iter().flatten().sum())
}

#[task]
async fn choose(ctx: Ctx) -> TaskResult<String> {
    works(&ctx, 5).await;
    Ok("taken".into())
}

#[task]
async fn closed(ctx: Ctx) -> TaskResult<bool> {
    works(&ctx, 5).await;
    Ok(false)
}

/// Says who it is: another lease gives another value.
#[task]
async fn origin(ctx: Ctx) -> TaskResult<String> {
    works(&ctx, 200).await;
    Ok(format!("{} {}", ctx.attempt(), ctx.this_try().lease_no))
}

/// Gives what it is given.
#[task]
async fn echo(ctx: Ctx, words: String) -> TaskResult<String> {
    works(&ctx, 10).await;
    Ok(words)
}

/// Commits a row with its success, in a transaction that takes its time.
#[task]
async fn publish(ctx: Ctx, ms: u64) -> TaskResult<u64> {
    works(&ctx, ms).await;
    let (run, this_try) = (ctx.run().run_key, ctx.this_try().clone());
    let insert = completion::step("publish", move |db| {
        let this_try = this_try.clone();
        Box::pin(async move {
            let index = this_try.map_index.map_or(-1, u32::cast_signed);
            sqlx::query("insert into lake.published values ($1, $2, $3, $4, $5)")
                .bind(run)
                .bind(&*this_try.task_id)
                .bind(index)
                .bind(this_try.attempt)
                .bind(this_try.lease_no)
                .execute(db)
                .await?;
            Ok(())
        })
    });
    ctx.commit(insert)?;
    // A second step that takes time, so that a kill can hit the transaction.
    ctx.commit(completion::step("linger", move |db| {
        Box::pin(async move {
            sqlx::query("select pg_sleep($1)").bind(ms as f64 / 1_000.0).execute(db).await?;
            Ok(())
        })
    }))?;
    Ok(ms)
}

#[sensor(poll_every = millis(150))]
async fn look(ctx: Ctx) -> TaskResult<Option<u64>> {
    Mark::start(&ctx).end();
    Ok((ctx.this_try().lease_no >= LOOKS).then_some(1))
}

fn chain(more: bool) -> Dag {
    torture("chain").build(|d| {
        let mut last = d.add(step(0_u64, 20).id("step_1"));
        for number in 2..=6 {
            last = d.add(step(last, 20).id(format!("step_{number}")));
        }
        if more {
            d.add(step(last, 20).id("step_7"));
        }
    })
}

/// Every trigger rule has to handle a success, a failure and a skip.
fn diamond(more: bool) -> Dag {
    torture("diamond").build(|d| {
        let start = d.add(work(10).id("start"));
        let good = d.add(work(30).id("good").after(start));
        let bad = d.add(fail().id("fail_side").after(start));
        let out = d.add(skip_it().id("skip_side").after(start));
        d.add(work(5).id("all_success").after((good, bad)));
        d.add(work(5).id("all_success_skipped").after((good, out)));
        d.add(work(5).id("one_failed").after((good, bad)).trigger_rule(OneFailed));
        d.add(work(5).id("one_success").after((good, bad)).trigger_rule(OneSuccess));
        d.add(work(5).id("none_failed").after((good, out)).trigger_rule(NoneFailed));
        d.add(work(5).id("none_skipped").after((good, out)).trigger_rule(NoneSkipped));
        let done = d.add(work(5).id("all_done").after((good, bad, out)).trigger_rule(AllDone));
        if more {
            d.add(work(5).id("after_all").after(done));
        }
    })
}

fn fan(more: bool) -> Dag {
    torture("fan").build(|d| {
        let start = d.add(work(5).id("start"));
        let wide: Vec<_> =
            (0..FAN).map(|n| d.add(work(u64::from(5 + n % 30)).id(format!("leaf_{n}")).after(start))).collect();
        let join = d.add(work(5).id("join").after(wide));
        if more {
            d.add(work(5).id("after_join").after(join));
        }
    })
}

fn mapped(more: bool) -> Dag {
    torture("mapped").build(|d| {
        let doubled = d.map(d.add(list()), double);
        let total = d.add(total(doubled));
        if more {
            d.add(work(5).id("after_total").after(total));
        }
    })
}

/// Three tasks for each element, joined within it. `flaky_1` succeeds at its second attempt.
fn mapped_group(more: bool) -> Dag {
    torture("mapped_group").build(|d| {
        let given = d.map_group("each", d.add(list()), |g, number| {
            let left = g.add(double(number).id("left"));
            let right = g.add(flaky(1).retry_delay(millis(60)).id("flaky_1").after(left));
            g.add(step(left, 5).id("both").after(right))
        });
        let total = d.add(total(given));
        if more {
            d.add(work(5).id("after_total").after(total));
        }
    })
}

fn retries(more: bool) -> Dag {
    torture("retries").build(|d| {
        let once = d.add(flaky(1).id("flaky_1"));
        let twice = d.add(flaky(2).id("flaky_2").after(once));
        let at_once = d.add(flaky(3).retry_delay(millis(0)).id("flaky_3"));
        let join = d.add(work(5).id("join").after((twice, at_once)));
        if more {
            d.add(flaky(1).id("flaky_1_more").after(join));
        }
    })
}

/// Long task functions that are running when their worker is killed; one of them in a separate process.
fn long(more: bool) -> Dag {
    torture("long").build(|d| {
        let start = d.add(work(10).id("start"));
        let mut wide: Vec<_> =
            LONG_MS.iter().map(|&ms| d.add(work(ms).id(format!("long_{ms}")).after(start))).collect();
        wide.push(d.add(work(400).id("child").isolation(Isolation::Process).after(start)));
        let join = d.add(work(5).id("join").after(wide));
        if more {
            d.add(work(5).id("after_join").after(join));
        }
    })
}

fn timeouts(more: bool) -> Dag {
    torture("timeouts").build(|d| {
        let once = d.add(hangs_once());
        let never = d.add(never());
        d.add(work(5).id("after_never").after(never));
        let report = d.add(work(5).id("report").after((once, never)).trigger_rule(AllDone));
        if more {
            d.add(work(5).id("after_report").after(report));
        }
    })
}

fn choices(more: bool) -> Dag {
    torture("choices").build(|d| {
        let way = d.add(branch(choose()));
        let taken = d.add(work(20).id("taken").after(way));
        let other = d.add(work(20).id("other").after(way));
        d.add(work(5).id("behind_other").after(other));
        let join = d.add(work(5).id("join").after((taken, other)).trigger_rule(NoneFailedMinOneSuccess));
        let gate = d.add(short_circuit(closed()).after(join));
        let shut = d.add(work(5).id("behind_gate").after(gate));
        d.add(work(5).id("further").after(shut).trigger_rule(AllDone));
        if more {
            d.add(work(5).id("after_join").after(join));
        }
    })
}

/// A task that fails when its worker is lost: it must not start twice.
fn fragile() -> Dag {
    torture("fragile").build(|d| {
        let start = d.add(work(5).id("start"));
        d.add(work(300).id("fragile").on_lost(OnLost::Fail).after(start));
    })
}

/// Tasks with effects that must be visible if and only if they succeed; some of them lose the race for the run's row.
fn publishing(more: bool) -> Dag {
    torture("publishing").build(|d| {
        let start = d.add(work(10).id("start"));
        let wide: Vec<_> =
            LONG_MS.iter().map(|&ms| d.add(publish(ms).id(format!("publish_{ms}")).after(start))).collect();
        d.map([10_u64, 20, 30, 40], |ms| publish(ms).id("publish_each"));
        let join = d.add(work(5).id("join").after(wide));
        if more {
            d.add(publish(20).id("publish_more").after(join));
        }
    })
}

fn sensor_dag(more: bool) -> Dag {
    torture("sensor").build(|d| {
        let seen = d.add(look());
        let after = d.add(work(5).id("after_look").after(seen));
        if more {
            d.add(work(5).id("after_all").after(after));
        }
    })
}

/// Downstream tasks must receive the output of the accepted lease.
fn echo_dag(more: bool) -> Dag {
    torture("echo").build(|d| {
        let words = d.add(origin());
        let pause = d.add(work(300).id("pause").after(words));
        d.add(echo(words).id("echo_at_once"));
        let last = d.add(echo(words).id("echo_later").after(pause));
        if more {
            d.add(echo(last).id("echo_more"));
        }
    })
}
