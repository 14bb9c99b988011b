//! Queries for pages: sessions, the overview of all DAGs, and sections of logs.

use crate::fixture::{chain, database, one, register, trigger};
use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::state::{RunState, TaskState};
use orch_store::instance::{loudest_states, old_tries};
use orch_store::live::{TryKey, look_at_all, look_at_runs, look_at_tries, news};
use orch_store::log::{LogCursor, NewChunk, append, end, lines_upto, window, window_until};
use orch_store::overview::{
    RecentRuns, failing, failing_and_partly_failed, first_failures, how_far, last_runs, next_runs, places, pulse,
    recent_runs, running_runs, runs_since, successes_with_failed_tasks,
};
use orch_store::session::{NewSession, SessionKind, close_session, get_session, open_session};
use orch_store::user::{NewUser, UserChange, add_user, delete_user};
use orch_store::version::Versions;
use sqlx::PgConnection;
use uuid::Uuid;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a moment")
}

fn new_user<'a>(name: &'a str, role: &'a str) -> NewUser<'a> {
    NewUser { name, password_hash: "hash", role, ..NewUser::default() }
}

#[tokio::test]
async fn a_session_lasts_until_it_is_closed_or_over_or_its_user_is_gone() {
    let database = database().await;
    let mut db = one(&database).await;
    assert_eq!(add_user(&mut db, &new_user("ada", "viewer")).await.unwrap(), None);
    let new = |hash, now| NewSession {
        token_hash: hash,
        user: "ada",
        stamp: "s",
        kind: SessionKind::Browser,
        client_ip: "127.0.0.1",
        user_agent: "",
        now: at(now),
        expires_at: at(now + 60),
    };
    open_session(&mut db, &new(b"one", 0)).await.unwrap();
    assert_eq!(get_session(&mut db, b"one").await.unwrap().unwrap().user, "ada");
    assert!(close_session(&mut db, b"one").await.unwrap());
    assert!(!close_session(&mut db, b"one").await.unwrap());
    open_session(&mut db, &new(b"two", 0)).await.unwrap();
    // Opening a session deletes expired ones.
    open_session(&mut db, &new(b"three", 61)).await.unwrap();
    assert_eq!(get_session(&mut db, b"two").await.unwrap(), None);
    assert_eq!(delete_user(&mut db, "ada").await.unwrap(), UserChange::Done);
    assert_eq!(get_session(&mut db, b"three").await.unwrap(), None);
}

#[tokio::test]
async fn the_overview_tells_what_runs_what_failed_and_what_comes() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[chain("a", 2), chain("b", 1)]).await;
    let mut versions = Versions::default();
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut db).await.unwrap();
    let before = now - TimeDelta::minutes(1);
    let (first, second) = (trigger(&mut db, &mut versions, "a").await, trigger(&mut db, &mut versions, "b").await);
    let now = pulse(&mut db).await.unwrap();
    assert_eq!((now.dags, now.running_runs, now.workers, now.ready), (2, 2, 0, 2));
    let recent = recent_runs(&mut db, before, 1).await.unwrap();
    assert_eq!((recent.runs, recent.failed, recent.dags, &*recent.shown), (2, 0, 2, &["b".to_owned()][..]));
    assert!(recent.first.is_some_and(|first| first > before));
    let both = ["a".to_owned(), "b".to_owned()];
    let since = runs_since(&mut db, &both, before).await.unwrap();
    assert_eq!(since.iter().map(|mark| mark.dag_id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(runs_since(&mut db, &both[..1], before).await.unwrap().len(), 1);
    let later = TimeDelta::minutes(2);
    assert_eq!(recent_runs(&mut db, before + later, 1).await.unwrap(), RecentRuns::default());
    assert_eq!(running_runs(&mut db, 10).await.unwrap().len(), 2);
    assert_eq!(how_far(&mut db, first.id).await.unwrap(), Some((0, false)));
    assert!(failing(&mut db, 10).await.unwrap().is_empty());
    assert!(next_runs(&mut db, 10).await.unwrap().is_empty());
    sqlx::query("update dag_run set state = 'failed', ended_at = now() where id = $1")
        .bind(first.id)
        .execute(&mut db)
        .await
        .unwrap();
    let recent = recent_runs(&mut db, before, 1).await.unwrap();
    assert_eq!((recent.failed, recent.succeeded, &*recent.shown), (1, 0, &["a".to_owned()][..]));
    let failed = failing(&mut db, 10).await.unwrap();
    assert_eq!(how_far(&mut db, first.id).await.unwrap(), Some((0, true)));
    assert_eq!((failed.len(), failed[0].dag_id.as_str(), failed[0].state), (1, "a", RunState::Failed));
    sqlx::query(
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
        values ($1, $1, -1, 1, 1, 0, 1, 'failed')",
    )
    .bind(first.id)
    .execute(&mut db)
    .await
    .unwrap();
    sqlx::query("insert into failure (run, attempt, lease_no, kind, causes) values ($1, $1, 1, 'fatal', '{no,why}')")
        .bind(first.id)
        .execute(&mut db)
        .await
        .unwrap();
    let asked = [("a".to_string(), first.run_id), ("b".to_string(), second.run_id)];
    let why = first_failures(&mut db, &asked).await.unwrap();
    assert_eq!((why.len(), why[0].task, why[0].causes.join(" ")), (1, 1, "no why".into()));
    let last = last_runs(&mut db, &["b".into(), "a".into()], 5).await.unwrap();
    assert_eq!(last.iter().map(|mark| mark.dag_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn a_success_in_which_a_task_failed_is_found() {
    let database = database().await;
    let mut db = one(&database).await;
    let mut versions = Versions::default();
    register(&mut db, &[chain("a", 2), chain("b", 2), chain("c", 2)]).await;
    let mut runs = Vec::new();
    for (dag_id, state, codes) in [
        ("a", "success", [TaskState::Failed, TaskState::Success]),
        ("b", "success", [TaskState::Success, TaskState::Success]),
        ("c", "failed", [TaskState::Failed, TaskState::UpstreamFailed]),
    ] {
        let run = trigger(&mut db, &mut versions, dag_id).await.id;
        sqlx::query("update dag_run set state = $2::text::run_state, ledger = $3, ended_at = now() where id = $1")
            .bind(run)
            .bind(state)
            .bind(codes.map(TaskState::code).to_vec())
            .execute(&mut db)
            .await
            .unwrap();
        runs.push(run);
    }
    let found = successes_with_failed_tasks(&mut db, &runs).await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [runs[0]]);
    assert!(successes_with_failed_tasks(&mut db, &runs[1..]).await.unwrap().is_empty());
    let last = async |db: &mut PgConnection| {
        let (failed, partly) = failing_and_partly_failed(db, 10).await.unwrap();
        [failed, partly].map(|marks| marks.iter().map(|run| run.id).collect::<Vec<_>>())
    };
    assert_eq!(last(&mut db).await, [vec![runs[2]], vec![runs[0]]]);
    trigger(&mut db, &mut versions, "a").await;
    assert_eq!(last(&mut db).await, [vec![runs[2]], vec![runs[0]]], "the new run is not finished");
    sqlx::query("update dag set is_paused = true").execute(&mut db).await.unwrap();
    assert_eq!(last(&mut db).await, [Vec::<Uuid>::new(), Vec::new()]);
}

#[tokio::test]
async fn a_window_of_a_log_begins_with_the_chunk_that_holds_the_line() {
    let database = database().await;
    let mut db = one(&database).await;
    let mut versions = Versions::default();
    register(&mut db, &[chain("a", 1)]).await;
    let run = trigger(&mut db, &mut versions, "a").await.id;
    let attempt = Uuid::now_v7();
    let chunk = |lease_no, seq, lines| NewChunk { run, attempt, lease_no, seq, lines, body: "x".repeat(100) };
    let chunks = [chunk(1, 0, 10), chunk(1, 1, 5), chunk(2, 0, 20), chunk(2, 1, 1)];
    append(&mut db, &chunks).await.unwrap();
    let upto =
        async |db: &mut _, lease_no, seq| lines_upto(db, run, attempt, LogCursor { lease_no, seq }).await.unwrap();
    assert_eq!((upto(&mut db, 1, 0).await, upto(&mut db, 2, 0).await, upto(&mut db, 2, 1).await), (10, 35, 36));
    assert_eq!(end(&mut db, run, attempt).await.unwrap(), Some(LogCursor { lease_no: 2, seq: 1 }));
    assert_eq!(end(&mut db, run, Uuid::now_v7()).await.unwrap(), None);
    assert_eq!(upto(&mut db, 0, 0).await, 0);
    for (first, most, before, seqs) in [
        (1, 1_000, 0, vec![(1, 0), (1, 1), (2, 0), (2, 1)]),
        (10, 1, 0, vec![(1, 0)]),
        (11, 1, 10, vec![(1, 1)]),
        (16, 150, 15, vec![(2, 0), (2, 1)]),
        (36, 1, 35, vec![(2, 1)]),
        (37, 1, 0, vec![]),
    ] {
        let found = window(&mut db, run, attempt, first, 1, most).await.unwrap();
        let places: Vec<_> = found.chunks.iter().map(|chunk| (chunk.lease_no, chunk.seq)).collect();
        assert_eq!((found.before, places), (before, seqs), "from {first}, {most} bytes");
    }
    // The requested lines are returned even if they exceed the maximum size.
    let found = window(&mut db, run, attempt, 9, 8, 1).await.unwrap();
    assert_eq!((found.before, found.chunks.iter().map(|chunk| chunk.lines).collect::<Vec<_>>()), (0, vec![10, 5, 20]));
    for (end, most, before, seqs) in [
        (i64::MAX, 1, 35, vec![(2, 1)]),
        (36, 200, 10, vec![(1, 1), (2, 0)]),
        (16, 1_000, 0, vec![(1, 0), (1, 1)]),
        (2, 1, 0, vec![(1, 0)]),
        (1, 1, 0, vec![]),
    ] {
        let found = window_until(&mut db, run, attempt, end, most).await.unwrap();
        let places: Vec<_> = found.chunks.iter().map(|chunk| (chunk.lease_no, chunk.seq)).collect();
        assert_eq!((found.before, places), (before, seqs), "until {end}, {most} bytes");
    }
    let behind = news(&mut db, run, attempt, LogCursor { lease_no: 1, seq: 0 }, 1).await.unwrap();
    assert_eq!((behind.lines, behind.chunks.len(), behind.chunks[0].seq), (26, 1, 1));
    let behind = news(&mut db, run, attempt, LogCursor { lease_no: 1, seq: 0 }, 150).await.unwrap();
    assert_eq!((behind.lines, behind.chunks.len(), behind.chunks[0].lease_no), (26, 2, 2));
    assert!(news(&mut db, run, attempt, LogCursor { lease_no: 2, seq: 1 }, 1_000).await.unwrap().chunks.is_empty());
}

#[tokio::test]
async fn many_watched_things_are_one_look_each() {
    let database = database().await;
    let mut db = one(&database).await;
    let mut versions = Versions::default();
    register(&mut db, &[chain("a", 1)]).await;
    let (run, gone, attempt) = (trigger(&mut db, &mut versions, "a").await.id, Uuid::now_v7(), Uuid::now_v7());
    let before = look_at_all(&mut db).await.unwrap();
    assert_eq!(look_at_all(&mut db).await.unwrap(), before);
    append(&mut db, &[NewChunk { run, attempt, lease_no: 1, seq: 4, lines: 1, body: "x".into() }]).await.unwrap();
    let key = TryKey { run, task: 0, map_index: -1, attempt: Some(attempt) };
    let keys = [TryKey { run: gone, ..key }, key, TryKey { attempt: None, ..key }];
    let looks = look_at_tries(&mut db, &keys).await.unwrap();
    assert_eq!(looks.iter().map(|look| look.run_is_over).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(looks[1].end(), Some(LogCursor { lease_no: 1, seq: 4 }));
    assert_eq!((looks[0].end(), looks[2].end()), (None, None));
    let runs = look_at_runs(&mut db, &[run, gone]).await.unwrap();
    assert_eq!((runs.len(), runs[0].run, runs[0].is_over), (1, run, false));
    sqlx::query("update dag_run set state = 'success'").execute(&mut db).await.unwrap();
    assert!(look_at_runs(&mut db, &[run]).await.unwrap()[0].is_over);
    assert_ne!(look_at_all(&mut db).await.unwrap(), before);
}

#[tokio::test]
async fn a_grid_asks_once_for_what_its_open_runs_do() {
    let database = database().await;
    let mut db = one(&database).await;
    let mut versions = Versions::default();
    register(&mut db, &[chain("a", 2)]).await;
    let (first, second) =
        (trigger(&mut db, &mut versions, "a").await.id, trigger(&mut db, &mut versions, "a").await.id);
    sqlx::query(
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
        values ($1, $1, 0, 1, 1, 0, 1, 'running'), ($1, $2, 1, 1, 1, 0, 1, 'failed')",
    )
    .bind(first)
    .bind(second)
    .execute(&mut db)
    .await
    .unwrap();
    sqlx::query(
        "insert into attempt (run, attempt, map_index, task, try_no, max_tries, lease_no, lost_no, state, started_at)
        values ($1, $1, 0, 1, 1, 0, 1, 0, 'failed', now()), ($1, $2, 0, 0, 1, 0, 1, 0, 'failed', null)",
    )
    .bind(first)
    .bind(second)
    .execute(&mut db)
    .await
    .unwrap();
    let mut found = loudest_states(&mut db, &[first, second]).await.unwrap();
    found.sort_by_key(|(run, task, _)| (*run != first, *task));
    let expected = [(first, 0, TaskState::Queued), (first, 1, TaskState::Failed), (second, 0, TaskState::Queued)];
    assert_eq!(found, expected);
    let old = old_tries(&mut db, first, 10).await.unwrap();
    assert_eq!((old.len(), old[0].task, old[0].state), (1, 1, TaskState::Failed), "what never started is no bar");
    let now = places(&mut db, "a").await.unwrap();
    assert_eq!((now.running, now.queued, now.workers), (2, 0, 0));
}
