//! The completion steps of a task are committed if and only if its success is committed, also under failures.

use crate::world::World;
use orch::CompletionStep;
use orch::completion::{self, Outdated, StepFuture};
use orch::prelude::*;
use orch_spec::asset::{CheckOutcome, CheckPolicy, CheckResult};
use orch_spec::state::TaskState;
use orch_store::asset::{CHECKS, CheckTrail, check_by};
use orch_store::hint::Hint;
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::mark::{Mark, mark_instance};
use orch_store::run::get_run;
use orch_store::version::Versions;
use sqlx::PgConnection;
use std::time::{Duration, Instant};

/// Inserts a row with its attempt number, after it has waited for the lock `GATE`.
struct Publish {
    what: String,
    try_no: i32,
}

/// Advisory lock with an arbitrary id. A test that holds it stops every `Publish` in the middle of its transaction.
const GATE: i64 = 77;

impl CompletionStep for Publish {
    fn name(&self) -> String {
        format!("publish {}", self.what)
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        Box::pin(async move {
            let insert = sqlx::query("insert into published (what, try_no) values ($1, $2)");
            insert.bind(&self.what).bind(self.try_no).execute(&mut *db).await?;
            sqlx::query("select pg_advisory_xact_lock_shared($1)").bind(GATE).execute(db).await?;
            Ok(())
        })
    }
}

fn publish(ctx: &Ctx, what: &str) -> TaskResult<()> {
    ctx.commit(Publish { what: what.into(), try_no: i32::try_from(ctx.try_number())? })
}

#[task]
async fn publishes(ctx: Ctx) -> TaskResult<u32> {
    publish(&ctx, "a")?;
    publish(&ctx, "b")?;
    ctx.asset_event("lake://published", json!({}))?;
    Ok(7)
}

#[task]
async fn follows(n: u32) -> TaskResult<u32> {
    Ok(n + 1)
}

#[task]
async fn plain() -> TaskResult<u32> {
    Ok(1)
}

#[task(retries = 1, retry_delay = secs(0))]
async fn second_time(ctx: Ctx) -> TaskResult<()> {
    publish(&ctx, "second")?;
    let first = ctx.try_number() == 1;
    ctx.commit(completion::step("count the rows", move |_| {
        Box::pin(async move {
            ensure!(!first, "one row is missing");
            Ok(())
        })
    }))
}

#[task]
async fn too_slow(ctx: Ctx) -> TaskResult<()> {
    publish(&ctx, "slow")?;
    ctx.commit(sql("take a nap", "select pg_sleep(60)"))
}

#[task]
async fn commits_itself(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(sql("be clever", "commit"))
}

#[task]
async fn goes_on(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(completion::step("ignore an error", |db| {
        Box::pin(async move {
            drop(sqlx::query("insert into published (what) values (null)").execute(db).await);
            Ok(())
        })
    }))
}

#[task]
async fn reads_orch(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(sql("look around", "select count(*) from dag_run"))
}

#[task]
async fn panics_late(ctx: Ctx) -> TaskResult<()> {
    publish(&ctx, "panic")?;
    ctx.commit(completion::step("fall over", |_| panic!("as it says")))
}

/// Prepares until it has done so `enough` times, then publishes that number.
struct Prepares {
    times: i32,
    enough: i32,
}

impl CompletionStep for Prepares {
    fn name(&self) -> String {
        "publish what was prepared".into()
    }

    fn prepare(&mut self) -> StepFuture<'_> {
        self.times += 1;
        Box::pin(std::future::ready(Ok(())))
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        Box::pin(async move {
            let insert = sqlx::query("insert into published (what, try_no) values ('prepared', $1)");
            insert.bind(self.times).execute(db).await?;
            if self.times < self.enough {
                return Err(Outdated("another one was faster".into()).into());
            }
            Ok(())
        })
    }
}

/// A step whose preparation fails or never ends.
struct Unready(fn() -> StepFuture<'static>);

impl CompletionStep for Unready {
    fn name(&self) -> String {
        "get ready".into()
    }

    fn prepare(&mut self) -> StepFuture<'_> {
        (self.0)()
    }

    fn run<'a>(&'a mut self, _: &'a mut PgConnection) -> StepFuture<'a> {
        panic!("it was never ready")
    }
}

#[task]
async fn prepares_again(ctx: Ctx) -> TaskResult<()> {
    publish(&ctx, "beside")?;
    ctx.commit(Prepares { times: 0, enough: 3 })
}

#[task]
async fn prepares_in_vain(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(Prepares { times: 0, enough: i32::MAX })
}

#[task]
async fn cannot_prepare(ctx: Ctx) -> TaskResult<()> {
    publish(&ctx, "unprepared")?;
    ctx.commit(Unready(|| Box::pin(std::future::ready(Err(orch_sdk::task::fatal("the bucket is full"))))))
}

#[task]
async fn panics_early(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(Unready(|| panic!("at once")))
}

#[task(timeout = millis(200))]
async fn prepares_too_long(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(Unready(|| Box::pin(std::future::pending())))
}

#[task]
async fn prepares_for_ever(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(Unready(|| Box::pin(std::future::pending())))
}

#[task]
async fn fails_with_a_check(ctx: Ctx) -> TaskResult<()> {
    publish(&ctx, "checked")?;
    let found = CheckResult {
        name: "id is unique".into(),
        kind: "unique".into(),
        policy: CheckPolicy::Fail,
        outcome: CheckOutcome::Fail,
        rows: 10,
        bad: 2,
        sample: "id 7 came before".into(),
    };
    ctx.commit(CheckTrail::new(&ctx, "lake://checked", vec![found]))?;
    bail!("2 of 10 rows break the contract")
}

fn sql(name: &'static str, text: &'static str) -> impl CompletionStep {
    completion::step(name, move |db| {
        Box::pin(async move {
            sqlx::query(text).execute(db).await?;
            Ok(())
        })
    })
}

/// Builds a DAG with one task and the same name.
macro_rules! one {
    ($task:ident) => {
        dag(stringify!($task)).build(|d| {
            d.add($task());
        })
    };
}

async fn world() -> World {
    let dags = vec![
        dag("publishing").build(|d| {
            let given = d.add(publishes());
            d.add(follows(given));
        }),
        dag("parallel").build(|d| {
            let given = d.add(publishes());
            let beside = d.add(plain());
            d.add(follows(given).after(beside));
        }),
        one!(plain),
        one!(second_time),
        one!(too_slow),
        one!(commits_itself),
        one!(goes_on),
        one!(reads_orch),
        one!(panics_late),
        one!(prepares_again),
        one!(prepares_in_vain),
        one!(cannot_prepare),
        one!(panics_early),
        one!(prepares_too_long),
        one!(prepares_for_ever),
        one!(fails_with_a_check),
    ];
    let world = World::new(dags, 1).await;
    let table = "create table published (what text not null, try_no integer not null);
        grant insert, select on published to orch_lake";
    sqlx::raw_sql(table).execute(&mut world.db.connect().await).await.unwrap();
    world
}

impl World {
    async fn published(&self) -> Vec<String> {
        let rows = sqlx::query_scalar("select what || ' ' || try_no from published order by 1");
        rows.fetch_all(&mut self.db.connect().await).await.unwrap()
    }

    /// Returns the causes of failed attempts in order, each as one text.
    async fn failures(&self) -> Vec<String> {
        let rows = sqlx::query_scalar("select array_to_string(causes, ': ') from failure order by created_at");
        rows.fetch_all(&mut self.db.connect().await).await.unwrap()
    }

    async fn runs_to(&self, dag_id: &str, state: &str) {
        let run = self.trigger(dag_id, None).await;
        assert_eq!(self.end_of(dag_id, &run).await, state, "{}", self.dump().await);
    }

    /// Waits until a step is blocked in the middle of its transaction.
    async fn until_a_step_waits(&self, db: &mut PgConnection) {
        let waiting = "select exists (select from pg_stat_activity where datname = current_database()
            and application_name = 'orch worker completions' and wait_event_type = 'Lock')";
        let began = Instant::now();
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut *db).await.unwrap() {
            assert!(began.elapsed() < Duration::from_secs(10), "no step waits: {}", self.dump().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn shut(db: &mut PgConnection) {
    sqlx::query("select pg_advisory_lock($1)").bind(GATE).execute(db).await.unwrap();
}

async fn open(db: &mut PgConnection) {
    sqlx::query("select pg_advisory_unlock($1)").bind(GATE).execute(db).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_are_committed_with_the_success_and_what_follows_runs() {
    let world = world().await;
    world.runs_to("publishing", "success").await;
    assert_eq!(world.published().await, ["a 1", "b 1"]);
    let mut db = world.db.connect().await;
    // The outcome is complete: its output and its asset update exist.
    let output: i32 = sqlx::query_scalar("select (value #>> '{}')::integer from output where task = 1")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let events: i64 = sqlx::query_scalar("select count(*) from asset_event where uri = 'lake://published'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!((output, events), (8, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_without_steps_needs_no_connection_for_them() {
    let world = world().await;
    world.runs_to("plain", "success").await;
    let sessions = "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1";
    let mut db = world.db.connect().await;
    let count: i64 = sqlx::query_scalar(sessions).bind("orch worker completions").fetch_one(&mut db).await.unwrap();
    assert_eq!(count, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_fails_the_try_and_takes_the_others_back() {
    let world = world().await;
    world.runs_to("second_time", "success").await;
    assert_eq!(world.published().await, ["second 2"]);
    let failures = world.failures().await;
    assert_eq!(failures, ["the step `count the rows` failed, so nothing was committed: one row is missing"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_cannot_be_trusted_say_why_and_leave_nothing() {
    let world = world().await;
    let cases = [
        ("commits_itself", "the step `be clever` failed, so nothing was committed: it ended the transaction"),
        (
            "goes_on",
            "the step `ignore an error` failed, so nothing was committed: one of its statements failed and it went on",
        ),
        ("reads_orch", "permission denied for table dag_run"),
        ("panics_late", "it panicked: as it says"),
        ("prepares_in_vain", "is outdated: another one was faster: it was prepared 101 times"),
        ("cannot_prepare", "the step `get ready` failed, so nothing was committed: the bucket is full"),
        ("panics_early", "it panicked: at once"),
        ("prepares_too_long", "the time was over before the steps of the task were prepared: get ready"),
    ];
    for (at, (dag_id, why)) in cases.into_iter().enumerate() {
        world.runs_to(dag_id, "failed").await;
        let failures = world.failures().await;
        assert!(failures[at].contains(why), "{dag_id}: {failures:?}");
    }
    assert!(world.published().await.is_empty());
    // The worker still works.
    world.runs_to("publishing", "success").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_takes_too_long_is_ended_and_holds_nobody_up() {
    let world = world().await;
    let began = Instant::now();
    let slow = world.trigger("too_slow", None).await;
    world.runs_to("plain", "success").await;
    assert!(began.elapsed() < completion::LIMIT, "others waited for it");
    assert_eq!(world.end_of("too_slow", &slow).await, "failed");
    let took = began.elapsed();
    assert!(took >= completion::LIMIT && took < 2 * completion::LIMIT, "{took:?}");
    let failures = world.failures().await;
    assert!(failures[0].starts_with("`take a nap` was still at work after 5s"), "{failures:?}");
    assert!(world.published().await.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_outdated_prepares_again_and_the_same_try_succeeds() {
    let world = world().await;
    let run = world.trigger("prepares_again", None).await;
    assert_eq!(world.end_of("prepares_again", &run).await, "success", "{}", world.dump().await);
    assert_eq!(world.published().await, ["beside 1", "prepared 3"], "what was outdated was rolled back");
    assert_eq!(world.states(&run).await[0], (0, -1, "success".into(), 1), "it is the same try");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_prepare_without_a_transaction_and_stop_with_their_try() {
    let world = world().await;
    let mut db = world.db.connect().await;
    let run = world.trigger("prepares_for_ever", None).await;
    let running = "select exists (select from task_instance t join dag_run r on r.id = t.run
        where r.run_id = $1 and t.state = 'running')";
    while !sqlx::query_scalar::<_, bool>(running).bind(&run).fetch_one(&mut db).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Another task completes meanwhile, including its steps.
    world.runs_to("publishing", "success").await;
    let sessions = "select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'orch worker completions' and state <> 'idle'";
    assert_eq!(sqlx::query_scalar::<_, i64>(sessions).fetch_one(&mut db).await.unwrap(), 0);
    let id = get_run(&mut db, "prepares_for_ever", &run).await.unwrap().unwrap().id;
    mark_instance(&mut db, &Locks::begin().runs(), &mut Versions::default(), (id, None), (0, -1), TaskState::Failed)
        .await
        .unwrap();
    world.hints.give(Hint::Stop);
    assert_eq!(world.end_of("prepares_for_ever", &run).await, "failed");
    // The worker waits for its running attempts.
    world.end().await;
}

/// The attempt is taken from its worker while the transaction of its step is open, as if the lease had expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_is_lost_in_the_middle_publishes_nothing() {
    let world = world().await;
    let mut db = world.db.connect().await;
    shut(&mut db).await;
    let run = world.trigger("publishing", None).await;
    world.until_a_step_waits(&mut db).await;
    let id = get_run(&mut db, "publishing", &run).await.unwrap().unwrap().id;
    let marked = mark_instance(
        &mut db,
        &Locks::begin().runs(),
        &mut Versions::default(),
        (id, None),
        (0, -1),
        TaskState::Failed,
    )
    .await
    .unwrap();
    assert_eq!(marked, Mark::Marked(TaskState::Running));
    world.hints.give(Hint::Stop);
    open(&mut db).await;
    assert_eq!(world.end_of("publishing", &run).await, "failed");
    // The transaction may not have been rolled back yet.
    world.runs_to("plain", "success").await;
    let open_transactions = "select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'orch worker completions' and state <> 'idle'";
    while sqlx::query_scalar::<_, i64>(open_transactions).fetch_one(&mut db).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.published().await.is_empty());
    world.end().await;
}

/// The row of the run changes while the steps run: they hold no locks on orch's tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_moves_on_meanwhile_loses_nothing() {
    let world = world().await;
    let mut db = world.db.connect().await;
    shut(&mut db).await;
    let run = world.trigger("parallel", None).await;
    world.until_a_step_waits(&mut db).await;
    let moved = "select exists (select from task_instance t join dag_run r on r.id = t.run
        where r.run_id = $1 and t.task = 1 and t.state = 'success' and r.rev > 0)";
    let began = Instant::now();
    while !sqlx::query_scalar::<_, bool>(moved).bind(&run).fetch_one(&mut db).await.unwrap() {
        assert!(began.elapsed() < Duration::from_secs(4), "the steps hold up the run: {}", world.dump().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    open(&mut db).await;
    assert_eq!(world.end_of("parallel", &run).await, "success");
    assert_eq!(world.published().await, ["a 1", "b 1"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_run_again_when_their_connection_breaks() {
    let world = world().await;
    let mut db = world.db.connect().await;
    shut(&mut db).await;
    let run = world.trigger("publishing", None).await;
    // A terminated session still appears to wait for a short time.
    let cut = "select pid from (
          select pid, pg_terminate_backend(pid) as is_cut from pg_stat_activity
          where application_name = 'orch worker completions' and datname = current_database() and wait_event_type = 'Lock'
            and pid <> all($1)
        ) waiting where is_cut";
    let mut gone: Vec<i32> = Vec::new();
    for times in 1..=3 {
        while gone.len() < times {
            world.until_a_step_waits(&mut db).await;
            let cut: Vec<i32> = sqlx::query_scalar(cut).bind(&gone).fetch_all(&mut db).await.unwrap();
            gone.extend(cut);
        }
    }
    open(&mut db).await;
    assert_eq!(world.end_of("publishing", &run).await, "success", "{}", world.dump().await);
    assert_eq!(world.published().await, ["a 1", "b 1"]);
    assert_eq!(world.states(&run).await[0], (0, -1, "success".into(), 1), "it is the same try");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_check_found_is_kept_though_the_task_failed() {
    let world = world().await;
    world.runs_to("fails_with_a_check", "failed").await;
    assert!(world.published().await.is_empty());
    let mut db = world.db.connect().await;
    let checks = CHECKS.rows(&mut db, &Search::default().and(check_by::URI.is("lake://checked"))).await.unwrap();
    assert_eq!(checks.len(), 1);
    let check = &checks[0];
    assert_eq!(
        (check.dag_id.as_str(), check.task_id.as_str(), check.try_no),
        ("fails_with_a_check", "fails_with_a_check", 1)
    );
    assert_eq!((check.result.outcome, check.result.bad), (CheckOutcome::Fail, 2));
    assert_eq!(world.failures().await, ["2 of 10 rows break the contract"]);
    world.end().await;
}
