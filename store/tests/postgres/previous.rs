//! Migrating upgrades a schema of the previous release, and rejects older schemas.

use crate::fixture::{database, number, one};
use orch_store::guard::{self, SCHEMA_VERSION, Schema};
use orch_store::reset::reset;
use orch_store::{MIGRATOR, StoreError};
use orch_test_support::TestDb;
use sqlx::PgConnection;

/// SQL query that lists all parts of a schema, one per line. Partitions are excluded, because the weeks for which they
/// exist differ.
const PARTS: &str = "
    with named as (
        select c.*, n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'lake') and not c.relispartition
    )
    select format('%s %s %s', name, relkind, coalesce(array_to_string(reloptions, ','), '-')) as line from named
    where relkind <> 'i'
    union all
    select format('%s column %s %s %s %s null:%s %s', name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
        coalesce(pg_get_expr(d.adbin, d.adrelid), '-'), not a.attnotnull, a.attidentity)
    from named join pg_attribute a on a.attrelid = named.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where relkind <> 'i'
    union all
    select format('%s constraint %s %s', name, k.conname, pg_get_constraintdef(k.oid))
    from named join pg_constraint k on k.conrelid = named.oid
    union all
    select format('%s index %s', name, pg_get_indexdef(i.indexrelid)) from named join pg_index i on i.indrelid = named.oid
    union all
    select format('%s trigger %s', name, pg_get_triggerdef(t.oid)) from named join pg_trigger t on t.tgrelid = named.oid
    where not t.tgisinternal
    union all
    select format('%s partition key %s', name, pg_get_partkeydef(oid)) from named where relkind = 'p'
    union all
    select format('%s view %s', name, pg_get_viewdef(oid)) from named where relkind = 'v'
    union all
    select pg_get_functiondef(p.oid) from pg_proc p where p.pronamespace in ('public'::regnamespace, 'lake'::regnamespace)
    union all
    select format('enum %s %s %s', t.typname, e.enumsortorder, e.enumlabel) from pg_type t join pg_enum e on e.enumtypid = t.oid
    where t.typnamespace = 'public'::regnamespace
    union all
    select format('migration %s %s %s', version, description, encode(checksum, 'hex')) from _sqlx_migrations
    union all
    select format('guard %s %s', version, min_binary) from schema_guard
    order by 1";

async fn parts(db: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(PARTS).fetch_all(db).await.expect("the catalog can be read")
}

#[tokio::test]
async fn a_database_of_the_previous_release_becomes_the_same_as_a_new_one() {
    let (old, new) = (TestDb::of_the_previous_release().await, database().await);
    let (mut old, mut new) = (one(&old).await, one(&new).await);
    assert_eq!(guard::read_schema(&mut old).await.unwrap(), Schema::Old { version: 24 });
    assert!(matches!(guard::check(&mut old).await, Err(StoreError::Schema { found: 24, .. })));
    let runs = number(&mut old, "select count(*) from dag_run").await;
    guard::migrate(&mut old).await.unwrap();
    assert_eq!(guard::read_schema(&mut old).await.unwrap(), Schema::Fits);
    let (brought_up, made) = (parts(&mut old).await, parts(&mut new).await);
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).cloned().collect()
    };
    assert_eq!(only(&brought_up, &made), only(&made, &brought_up));
    assert_eq!(brought_up, made);
    assert!(made.len() > 800, "{}", made.len());
    assert!(runs > 200 && number(&mut old, "select count(*) from dag_run").await == runs);
    // Each start of a process migrates, so a repeated migration must succeed.
    guard::migrate(&mut old).await.unwrap();
    reset(&mut old).await.unwrap();
    assert_eq!(number(&mut old, "select count(*) from dag_run").await, 0);
}

#[tokio::test]
async fn two_that_bring_it_up_at_once_do_it_once() {
    let database = TestDb::of_the_previous_release().await;
    let (mut one_of, mut other) = (one(&database).await, one(&database).await);
    let (first, second) = tokio::join!(guard::migrate(&mut one_of), guard::migrate(&mut other));
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    let ups = MIGRATOR.iter().filter(|migration| migration.migration_type.is_up_migration()).count();
    assert_eq!(number(&mut other, "select count(*) from _sqlx_migrations").await, ups as i64);
}

#[tokio::test]
async fn a_database_that_is_older_or_was_tampered_with_is_left_as_it_is() {
    let database = TestDb::of_the_previous_release().await;
    let mut db = one(&database).await;
    let say = async |db: &mut PgConnection, text: &'static str| sqlx::query(text).execute(db).await.unwrap();
    say(&mut db, "update schema_guard set version = 23").await;
    for refused in [guard::migrate(&mut db).await, guard::check(&mut db).await, reset(&mut db).await] {
        let Err(StoreError::Schema { found: 23, needed: SCHEMA_VERSION, hint }) = refused else {
            panic!("{refused:?}")
        };
        assert!(hint.contains("commit f467ca96"), "{hint}");
    }
    say(&mut db, "update schema_guard set version = 24").await;
    say(&mut db, "update _sqlx_migrations set checksum = 'x' where version = 202611220630").await;
    let refused = guard::migrate(&mut db).await;
    let Err(StoreError::Corrupt { what }) = refused else { panic!("{refused:?}") };
    assert!(what.contains("`_sqlx_migrations` says something else"), "{what}");
    assert_eq!(guard::read_schema(&mut db).await.unwrap(), Schema::Old { version: 24 });
    assert_eq!(number(&mut db, "select count(*) from _sqlx_migrations").await, 24);
}
