//! Loads into Postgres: the resulting rows, concurrent sessions, and failures.

use crate::support::{ask, database, execute_sql, field, is_fatal, sales, sales_schema, schema, words};
use arrow::array::{ArrayRef, Int16Array, RecordBatch};
use arrow::datatypes::DataType;
use futures::StreamExt;
use orch_lake::batches::Batches;
use orch_lake::load::{CREATE_DATABASE, Load, Loaded, Once, connect, ensure_database};
use orch_sdk::task::{Connection, MemoryHost, RunFacts, TryFacts};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

type Sale<'a> = (i64, Option<&'a str>, i128);

fn some(rows: &[Sale<'_>]) -> Batches {
    Batches::of(sales_schema(), vec![sales(rows)])
}

fn load() -> Load {
    Load::into("retail", "sales").key(["id"])
}

async fn replace(load: Load, connection: &Connection, rows: &[Sale<'_>]) -> Loaded {
    load.replace(connection, some(rows)).await.expect("it can be loaded")
}

const ALL: &str = "select concat_ws(' ', id, coalesce(name, '-'), price) from retail.sales order by id";

#[tokio::test]
async fn a_table_is_made_typed_and_becomes_what_is_loaded() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let first = replace(load(), &connection, &[(1, Some("a"), 29_998), (2, None, -5)]).await;
    assert_eq!((first.rows, first.written, first.was_loaded), (2, 2, false));
    assert_eq!(ask(&db, ALL).await, ["1 a 299.98", "2 - -0.05"]);
    let types = "select attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull from pg_attribute \
                 where attrelid = 'retail.sales'::regclass and attnum > 0 order by attnum";
    assert_eq!(ask(&db, types).await, ["id bigint true", "name text false", "price numeric(12,2) true"]);
    let second = replace(load(), &connection, &[(2, Some("b"), -5), (3, None, 0)]).await;
    assert_eq!((second.rows, second.written), (2, 2));
    assert_eq!(ask(&db, ALL).await, ["2 b -0.05", "3 - 0.00"]);
    assert_eq!(replace(load(), &connection, &[(2, Some("b"), -5), (3, None, 0)]).await.written, 0, "nothing differs");
    let without_key = Load::into("retail", "sales");
    assert_eq!(replace(without_key, &connection, &[(9, None, 900)]).await.written, 1);
    assert_eq!(ask(&db, ALL).await, ["9 - 9.00"]);
}

#[tokio::test]
async fn a_source_without_rows_empties_the_table() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let nothing = || Batches::of(sales_schema(), vec![]).ahead();
    for load in [load(), Load::into("retail", "sales")] {
        execute_sql(&db, "drop schema if exists retail cascade").await;
        let first = load.clone().replace(&connection, nothing()).await.expect("an empty table is made");
        assert_eq!((first.rows, first.written), (0, 0));
        replace(load.clone(), &connection, &[(1, Some("a"), 29_998), (2, None, -5)]).await;
        let emptied = load.replace(&connection, nothing()).await.expect("the table is emptied");
        assert_eq!(emptied.rows, 0);
        assert_eq!(ask(&db, ALL).await.len(), 0);
    }
}

#[tokio::test]
async fn many_rows_are_compared_as_few_are() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let rows = |from: i64, price: i128| (from..from + 120_000).map(move |id| (id, None, price)).collect::<Vec<_>>();
    assert_eq!(replace(load(), &connection, &rows(0, 100)).await.written, 120_000);
    assert_eq!(replace(load(), &connection, &rows(0, 100)).await.written, 0, "nothing differs");
    let mut changed = rows(10, 100);
    changed[5].2 = 200;
    assert_eq!(replace(load(), &connection, &changed).await.written, 11, "ten came, and one has another price");
    let there = "select count(*) || ' ' || min(id) || ' ' || max(id) || ' ' || max(price) from retail.sales";
    assert_eq!(ask(&db, there).await, ["120000 10 120009 2.00"]);
}

#[tokio::test]
async fn only_what_differs_is_sent() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let rows: Vec<_> = (-500..500).map(|id| (id, Some("as it was"), 100)).collect();
    let first = replace(load(), &connection, &rows).await;
    assert_eq!((first.rows, first.written), (1_000, 1_000));
    let again = replace(load(), &connection, &rows).await;
    assert_eq!((again.rows, again.written, again.bytes), (1_000, 0, 21), "the head and the end of a copy");
    let mut changed = rows.clone();
    changed.retain(|(id, ..)| id % 100 != 0);
    changed[7].1 = None;
    changed.push((500, Some("new"), 100));
    let third = replace(load(), &connection, &changed).await;
    assert_eq!((third.rows, third.written), (991, 2));
    assert!(third.bytes < 1_000, "{} bytes for twelve rows", third.bytes);
    let there =
        "select count(*) || ' ' || count(*) filter (where id % 100 = 0) || ' ' || count(name) from retail.sales";
    assert_eq!(ask(&db, there).await, ["991 1 990"]);
    let none = replace(load(), &connection, &[]).await;
    assert_eq!((none.rows, none.written), (0, 0));
    assert_eq!(ask(&db, ALL).await.len(), 0);
}

#[tokio::test]
async fn rows_may_come_in_any_order() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    // 1 and 9 are deleted, 3 is changed, 5 is unchanged, 4 is new.
    let before = [(1, None, 1), (3, None, 1), (5, None, 1), (9, None, 1)];
    for most_ahead in [1, 2, 1_000] {
        let load = || load().most_ahead(most_ahead);
        for after in [[3, 4, 5], [3, 5, 4], [4, 3, 5], [4, 5, 3], [5, 3, 4], [5, 4, 3]] {
            execute_sql(&db, "drop table if exists retail.sales").await;
            replace(load(), &connection, &before).await;
            let rows = after.map(|id| (id, (id == 3).then_some("c"), 1));
            let loaded = replace(load(), &connection, &rows).await;
            assert_eq!((loaded.rows, loaded.written), (3, 2), "{after:?}, {most_ahead}");
            assert_eq!(ask(&db, ALL).await, ["3 c 0.01", "4 - 0.01", "5 - 0.01"], "{after:?}, {most_ahead}");
            let again = replace(load(), &connection, &rows).await;
            assert_eq!((again.rows, again.written), (3, 0), "{after:?}, {most_ahead}");
        }
        // A duplicate key is rejected at every position, whether or not the table has a row with it.
        for twice in [[3, 3, 4], [4, 4, 5], [3, 4, 3], [5, 3, 5], [9, 5, 9], [7, 7, 7]] {
            for price in [1, 2] {
                let rows = [(twice[0], None, 1), (twice[1], None, 1), (twice[2], None, price)];
                let refused = load().replace(&connection, some(&rows)).await.expect_err("it is there twice");
                assert!(words(&refused).contains("have the same key (id)"), "{twice:?}: {}", words(&refused));
                assert_eq!(ask(&db, ALL).await.len(), 3, "{twice:?}");
            }
        }
    }
}

#[tokio::test]
async fn keys_of_several_columns_and_of_texts_are_compared_too() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let rows = [(1, Some("b"), -3), (1, Some("a"), 5), (2, Some("B"), 5), (2, Some("é"), 5)];
    for key in [vec!["id", "name"], vec!["name", "id"], vec!["name"]] {
        execute_sql(&db, "drop table if exists retail.sales").await;
        let load = || Load::into("retail", "sales").key(key.clone());
        assert_eq!(replace(load(), &connection, &rows).await.written, 4, "{key:?}");
        assert_eq!(replace(load(), &connection, &rows).await.written, 0, "{key:?}");
        assert_eq!(replace(load(), &connection, &rows[1..]).await.written, 0, "{key:?}");
        assert_eq!(replace(load(), &connection, &rows[..2]).await.written, 1, "{key:?}");
        assert_eq!(ask(&db, ALL).await.len(), 2, "{key:?}");
    }
    let numbers = schema(["a", "b"].map(|name| field(name, DataType::Int16)).to_vec());
    let batch = |rows: &[(i16, i16)]| {
        let column =
            |part: fn(&(i16, i16)) -> i16| -> ArrayRef { Arc::new(rows.iter().map(part).collect::<Int16Array>()) };
        RecordBatch::try_new(numbers.clone(), vec![column(|row| row.0), column(|row| row.1)]).expect("it is a batch")
    };
    let load = || Load::into("retail", "pairs").key(["b", "a"]);
    let replace = async |rows: &[(i16, i16)]| {
        let rows = Batches::of(numbers.clone(), vec![batch(rows)]);
        load().replace(&connection, rows).await.expect("it can be loaded").written
    };
    assert_eq!(replace(&[(7, -1), (-5, 0), (5, 0), (0, 2)]).await, 4);
    assert_eq!(replace(&[(7, -1), (-6, 0), (-5, 0), (5, 0), (0, 2)]).await, 1);
    assert_eq!(replace(&[(7, -1), (5, 0), (6, 1)]).await, 1);
    let there = "select a || ' ' || b from retail.pairs order by b, a";
    assert_eq!(ask(&db, there).await, ["7 -1", "5 0", "6 1"]);
}

/// Without the lock, a row could change after it was found to be up to date.
#[tokio::test]
async fn writers_wait_while_rows_are_compared() {
    let connection = database().await;
    replace(load(), &connection, &[(1, None, 100), (2, None, 200)]).await;
    let writer = connect(&connection).await.expect("the server answers");
    execute_sql(&writer, "set lock_timeout = '50ms'").await;
    let (go_on, gate) = tokio::sync::oneshot::channel::<()>();
    let (begun, is_begun) = tokio::sync::oneshot::channel::<()>();
    let rows = futures::stream::iter([Ok(sales(&[(1, None, 100)]))]).chain(futures::stream::once(async move {
        begun.send(()).ok();
        gate.await.ok();
        Ok(sales(&[(2, None, 200)]))
    }));
    let loading = load();
    let loaded = loading.replace(&connection, Batches::new(sales_schema(), rows));
    let writing = async {
        is_begun.await.expect("the load begins");
        let refused = writer.batch_execute("update retail.sales set price = 9 where id = 1").await;
        let refused = refused.expect_err("the table is locked");
        assert_eq!(refused.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
        go_on.send(()).expect("the load waits");
    };
    let (loaded, ()) = tokio::join!(loaded, writing);
    assert_eq!(loaded.expect("it can be loaded").written, 0);
}

#[tokio::test]
async fn views_grants_and_indexes_stay_and_show_the_new_rows() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    replace(load().alias("sale"), &connection, &[(1, None, 100)]).await;
    let role = format!("reader_{}", connection.schema.as_deref().unwrap_or_default());
    execute_sql(&db, &format!("create role {role}")).await;
    execute_sql(&db, &format!("grant usage on schema retail to {role}; grant select on retail.sales to {role}")).await;
    execute_sql(&db, "create view public.mine as select id * 2 as twice from retail.sales").await;
    execute_sql(&db, "create index byname on retail.sales (name)").await;
    replace(load().alias("sale"), &connection, &[(5, None, 100)]).await;
    assert_eq!(ask(&db, "select id::text from retail.sale").await, ["5"]);
    assert_eq!(ask(&db, "select twice::text from public.mine").await, ["10"]);
    assert_eq!(
        ask(&db, "select indexname::text from pg_indexes where tablename = 'sales' order by 1").await,
        ["byname", "sales_pkey"]
    );
    execute_sql(&db, &format!("set role {role}")).await;
    assert_eq!(ask(&db, "select id::text from retail.sales").await, ["5"]);
    execute_sql(&db, &format!("reset role; drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn readers_see_the_old_rows_without_waiting_until_the_new_ones_are_there() {
    let connection = database().await;
    replace(load(), &connection, &[(1, None, 100), (2, None, 200)]).await;
    let reader = connect(&connection).await.expect("the server answers");
    execute_sql(&reader, "set lock_timeout = '1s'").await;
    // The reader runs while the load is in the middle of its rows.
    let (go_on, gate) = tokio::sync::oneshot::channel::<()>();
    let (begun, is_begun) = tokio::sync::oneshot::channel::<()>();
    let rows = futures::stream::once(async move {
        begun.send(()).ok();
        gate.await.ok();
        Ok(sales(&[(7, None, 700)]))
    });
    let loading = load();
    let loaded = loading.replace(&connection, Batches::new(sales_schema(), rows));
    let looking = async {
        is_begun.await.expect("the load begins");
        assert_eq!(ask(&reader, ALL).await.len(), 2);
        // A repeatable-read transaction sees the same rows twice, even if the load commits in between.
        execute_sql(&reader, "begin isolation level repeatable read").await;
        assert_eq!(ask(&reader, ALL).await.len(), 2);
        go_on.send(()).expect("the load waits");
    };
    let (loaded, ()) = tokio::join!(loaded, looking);
    assert_eq!(loaded.expect("it can be loaded").written, 1);
    assert_eq!(ask(&reader, ALL).await.len(), 2);
    execute_sql(&reader, "commit").await;
    assert_eq!(ask(&reader, ALL).await, ["7 - 7.00"]);
}

#[tokio::test]
async fn a_load_that_fails_changes_nothing() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    replace(load(), &connection, &[(1, None, 100)]).await;
    let broken = futures::stream::iter([Ok(sales(&[(2, None, 1)])), Err(anyhow::anyhow!("the source broke"))]);
    let error = load().replace(&connection, Batches::new(sales_schema(), broken)).await.expect_err("it broke");
    assert!(words(&error).contains("the source broke"), "{}", words(&error));
    let twice = load().replace(&connection, some(&[(3, None, 1), (3, None, 2)])).await.expect_err("one key twice");
    assert!(words(&twice).contains("two rows for \"retail\".\"sales\" have the same key (id)"), "{}", words(&twice));
    assert!(is_fatal(twice));
    // The load is dropped in the middle, as when its task is cancelled.
    let endless = futures::stream::repeat_with(|| Ok(sales(&[(4, None, 1)]))).boxed();
    let rows = Batches::new(sales_schema(), endless);
    let cut = tokio::time::timeout(std::time::Duration::from_millis(200), load().replace(&connection, rows)).await;
    assert!(cut.is_err(), "it has no end");
    assert_eq!(ask(&db, ALL).await, ["1 - 1.00"]);
    let broken = Batches::new(sales_schema(), futures::stream::iter([Err(anyhow::anyhow!("broke"))]));
    Load::into("fresh", "table").replace(&connection, broken).await.expect_err("it broke");
    assert_eq!(ask(&db, "select coalesce(to_regnamespace('fresh')::text, 'none')").await, ["none"]);
}

#[tokio::test]
async fn what_the_table_or_the_rows_lack_is_told_by_its_column() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    replace(load(), &connection, &[(1, None, 100)]).await;
    execute_sql(&db, "alter table retail.sales alter price type text").await;
    let changed = load().replace(&connection, some(&[(1, None, 1)])).await.expect_err("its type is another");
    let said = words(&changed);
    assert!(
        said.contains("column `price` of \"retail\".\"sales\" is `text`, but the rows have `numeric(12,2)`\nhint:"),
        "{said}"
    );
    assert!(is_fatal(changed));
    execute_sql(
        &db,
        "drop table retail.sales; create table retail.sales (id bigint primary key, must integer not null)",
    )
    .await;
    let said = words(&load().replace(&connection, some(&[(1, None, 1)])).await.expect_err("a column is missing"));
    assert!(said.contains("column `must` of \"retail\".\"sales\" must not be null"), "{said}");
    for (load, told) in [
        (load().key(["code"]), "have no column `code`\nhint: they have id, name, price"),
        (Load::into("retail", "sales"), "an upsert into \"retail\".\"sales\" needs a key"),
        (load().version("at"), "have no column `at`"),
    ] {
        let said = words(&load.upsert(&connection, some(&[(1, None, 1)])).await.expect_err("it cannot work"));
        assert!(said.contains(told), "{said}");
    }
    execute_sql(&db, "create table retail.taken (n integer); drop table retail.sales").await;
    let said =
        words(&load().alias("taken").replace(&connection, some(&[(1, None, 1)])).await.expect_err("it is taken"));
    assert!(said.contains("but there is a table by that name"), "{said}");
    let null = futures::stream::iter([Ok(sales(&[(1, None, 1)]))]);
    let strict = schema(vec![
        field("id", DataType::Int64),
        field("name", DataType::Utf8),
        field("price", DataType::Decimal128(12, 2)),
    ]);
    let said = words(&load().replace(&connection, Batches::new(strict, null)).await.expect_err("the name is null"));
    assert!(said.contains("null value in column \"name\""), "{said}");
}

#[tokio::test]
async fn one_try_loads_once_and_one_that_was_taken_over_loads_nothing() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let host = MemoryHost::new();
    let attempt = |attempt: u128, lease_no: i32| {
        let this_try = TryFacts { attempt: Uuid::from_u128(attempt), lease_no, ..TryFacts::test() };
        load().once_in(&host.ctx_for(RunFacts::test(), this_try))
    };
    assert!(!replace(attempt(1, 0), &connection, &[(1, None, 100)]).await.was_loaded);
    let again = replace(attempt(1, 1), &connection, &[(2, None, 200)]).await;
    assert_eq!((again.was_loaded, again.rows), (true, 1), "the worker that took over finds it done");
    assert!(!replace(attempt(2, 3), &connection, &[(3, None, 300)]).await.was_loaded, "a retry loads");
    let late = attempt(2, 2).replace(&connection, some(&[(4, None, 400)])).await.expect_err("it was taken over");
    assert!(words(&late).contains("by the worker that took this task over"), "{}", words(&late));
    assert_eq!(ask(&db, ALL).await, ["3 - 3.00"]);
    let key = || load().once(Once::key("snapshot 7"));
    assert!(!replace(key(), &connection, &[(5, None, 500)]).await.was_loaded);
    assert!(replace(key(), &connection, &[(6, None, 600)]).await.was_loaded);
    assert_eq!(ask(&db, ALL).await, ["5 - 5.00"]);
}

#[tokio::test]
async fn loads_at_once_are_done_one_after_the_other() {
    for has_schema in [false, true] {
        let connection = database().await;
        let db = connect(&connection).await.expect("the server answers");
        if has_schema {
            execute_sql(&db, "create schema retail").await;
        }
        let one = |id: i64| {
            let connection = connection.clone();
            async move { load().replace(&connection, some(&[(id, None, 100), (id + 10, None, 100)])).await }
        };
        let all = futures::future::join_all((1..=8).map(one)).await;
        assert!(all.iter().all(|loaded| loaded.as_ref().is_ok_and(|loaded| loaded.rows == 2)), "{all:?}");
        let left = ask(&db, "select id::text from retail.sales order by sales.id").await;
        let numbers: Vec<i64> = left.iter().map(|id| id.parse().expect("a number")).collect();
        assert!(numbers.len() == 2 && numbers[1] == numbers[0] + 10, "{numbers:?}: one load as a whole");
    }
}

#[tokio::test]
async fn what_many_load_at_once_for_one_key_is_loaded_once() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    execute_sql(&db, "create schema retail").await;
    let all = futures::future::join_all((1..=8).map(|id| {
        let connection = connection.clone();
        async move { load().once(Once::key("snapshot 7")).replace(&connection, some(&[(id, None, 100)])).await }
    }));
    let fresh = all.await.into_iter().map(|loaded| loaded.expect("it can be loaded")).filter(|it| !it.was_loaded);
    assert_eq!(fresh.count(), 1);
}

#[tokio::test]
async fn first_loads_of_many_tables_at_once_all_succeed() {
    for round in 0..5 {
        let connection = database().await;
        // As separate tasks, the loads race to create the first schema of the database and its ledger.
        let mut all = JoinSet::new();
        for table in 0..10 {
            let connection = connection.clone();
            all.spawn(async move {
                let load = Load::into("retail", &format!("t{table}")).key(["id"]).once(Once::key("first"));
                (table, load.replace(&connection, some(&[(table, None, 100)])).await)
            });
        }
        while let Some(loaded) = all.join_next().await {
            let (table, loaded) = loaded.expect("it does not panic");
            assert!(loaded.as_ref().is_ok_and(|loaded| loaded.rows == 1), "round {round}, t{table}: {loaded:?}");
        }
        let db = connect(&connection).await.expect("the server answers");
        let noted = ask(&db, "select target || ' ' || rows from retail.orch_load order by target").await;
        assert_eq!(noted, (0..10).map(|table| format!("t{table} 1")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_database_is_made_where_the_user_may_and_else_the_refusal_says_how() {
    let mut connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let name = connection.schema.replace(format!("{}_beside", connection.schema.as_ref().expect("it has one")));
    let user = name.as_ref().map(|name| format!("user_of_{name}")).expect("it had one");
    connection.extra.insert(CREATE_DATABASE.into(), true.into());
    connection.extra.insert("user".into(), user.clone().into());
    execute_sql(&db, &format!("create role {user} login")).await;
    let refused = ensure_database(&connection).await.expect_err("it may not");
    let words = words(&refused);
    for part in
        [&format!("user `{user}` may not make it"), "of connection `retail_postgres`", "hint: as an administrator"]
    {
        assert!(words.contains(part), "{words}");
    }
    assert!(is_fatal(refused));
    execute_sql(&db, &format!("alter role {user} createdb")).await;
    for _ in 0..2 {
        ensure_database(&connection).await.expect("it may now, and it is there");
    }
    connect(&connection).await.expect("it is there");
}

#[tokio::test]
async fn a_schema_that_another_session_is_making_is_no_failure() {
    let connection = database().await;
    let other = connect(&connection).await.expect("the server answers");
    // Inside its open transaction, the other session would see the same snapshot of `pg_stat_activity` every time.
    let watcher = connect(&connection).await.expect("the server answers");
    execute_sql(&other, "begin; create schema retail").await;
    let (begun, is_begun) = tokio::sync::oneshot::channel::<()>();
    let rows = futures::stream::once(async move {
        begun.send(()).ok();
        Ok(sales(&[(7, None, 700)]))
    });
    let loading = load();
    let loaded = loading.replace(&connection, Batches::new(sales_schema(), rows));
    let committing = async {
        is_begun.await.expect("the load begins");
        // `create schema if not exists` waits for the other session, and then finds that the name is taken.
        let waits = "select count(*)::text from pg_stat_activity where datname = current_database() \
                     and wait_event_type = 'Lock'";
        while ask(&watcher, waits).await != ["1"] {}
        execute_sql(&other, "commit").await;
    };
    let (loaded, ()) = tokio::join!(loaded, committing);
    assert_eq!(loaded.expect("it can be loaded").written, 1);
}

#[tokio::test]
async fn an_upsert_keeps_what_is_newer_in_whatever_order_it_comes() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    // The price is used as the version.
    let upsert = |rows: &'static [Sale<'static>]| {
        let connection = connection.clone();
        async move { load().version("price").upsert(&connection, some(rows)).await.expect("it can be loaded").written }
    };
    assert_eq!(upsert(&[(1, Some("old"), 1), (2, Some("two"), 5), (1, Some("new"), 3)]).await, 2);
    assert_eq!(ask(&db, ALL).await, ["1 new 0.03", "2 two 0.05"]);
    assert_eq!(upsert(&[(1, Some("older"), 2), (1, Some("same"), 3), (3, None, 1)]).await, 1);
    assert_eq!(upsert(&[(2, Some("later"), 9)]).await, 1);
    assert_eq!(ask(&db, ALL).await, ["1 new 0.03", "2 later 0.09", "3 - 0.01"]);
    let plain = load()
        .upsert(&connection, some(&[(1, Some("new"), 3), (2, Some("last"), 1)]))
        .await
        .expect("without a version");
    assert_eq!(plain.written, 1, "what is the same is not written");
    assert_eq!(ask(&db, ALL).await, ["1 new 0.03", "2 last 0.01", "3 - 0.01"]);
}
