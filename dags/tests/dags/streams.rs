//! End-to-end tests of the streams: recorded records, killed workers, golden tables.

use crate::data;
use crate::golden::assert_golden;
use crate::world::World;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// Number of records that are produced at a time.
const LOT: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_logged_weather_is_golden_whatever_is_killed() {
    let mut world = World::new().await;
    let mut worker = world.start_worker();
    let readings = data::text("streams/logging_weather.jsonl");
    let readings: Vec<&str> = readings.lines().collect();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains("weather"));
    for (number, lot) in readings.chunks(LOT).enumerate() {
        world.produce("weather", &[], lot);
        // Kill the worker at an arbitrary time: before it starts to read, while it reads or while it commits.
        if number % 2 == 0 {
            world.kill(worker);
            worker = world.start_worker();
        }
    }
    assert_eq!(world.streamed("logging_weather", 12_000).await, 0);
    assert_logged_is_golden(&world);
    the_queries_of_the_document_are_answered(&world);
    // Replay the topic from the earliest offset, after killing workers.
    let published = world.killed_often(worker, "logging_weather", &["--empty-table"]).await;
    assert_eq!(world.streamed("logging_weather", published + 12_000).await, 0);
    assert_logged_is_golden(&world);
}

pub(crate) fn assert_logged_is_golden(world: &World) {
    let select = "select ts, city, count(*) as n, round(avg(cast(temperature as double)), 6) as avg_temperature \
                  from default.weather group by ts, city order by ts, city";
    assert_close(&world.run(&["sql", select, "-o", "csv"]).done(), "logging_weather_by_ts_city", 3);
}

/// Runs the documented queries verbatim, as they were written for Trino.
fn the_queries_of_the_document_are_answered(world: &World) {
    let sql = |query: &str| {
        let answer = world.run(&["sql", query, "-o", "csv", "--limit", "0"]).done();
        answer.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sql("SHOW CATALOGS;"), ["Catalog", "iceberg", "lake"]);
    assert!(sql("SHOW SCHEMAS FROM iceberg").contains(&"default".into()));
    assert!(sql("SHOW TABLES FROM iceberg.default;").contains(&"weather".into()));
    let all = sql("SELECT * FROM iceberg.default.weather;");
    assert_eq!((all.len(), all[0].as_str()), (12_001, "city,temperature,ts"));
    // Hours are stored with their day, so no row has this value.
    assert_eq!(sql("SELECT * FROM iceberg.default.weather WHERE ts = '14';"), ["city,temperature,ts"]);
    let averages =
        "SELECT city, AVG(CAST(temperature AS DOUBLE)) as avg_temp \nFROM iceberg.default.weather \nGROUP BY city;";
    let averages = sql(averages);
    let cities: BTreeSet<&str> = all[1..].iter().filter_map(|line| line.split(',').next()).collect();
    assert_eq!((averages[0].as_str(), averages.len() - 1), ("city,avg_temp", cities.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_golden_whatever_is_killed() {
    let mut world = World::new().await;
    let mut worker = world.start_worker();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains("users"));
    let recorded = data::text("streams/users.jsonl");
    let recorded: Vec<serde_json::Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, lot) in recorded.chunks(LOT).enumerate() {
        let mut by_partition: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in lot {
            by_partition.entry(record["partition"].to_string()).or_default().push(record["value"].to_string());
        }
        for (partition, values) in by_partition {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            world.produce("users", &["--partition", &partition], &values);
        }
        if number % 2 == 1 {
            world.kill(worker);
            worker = world.start_worker();
        }
    }
    // 23 records have no id and are quarantined.
    assert_eq!(world.streamed("users_mesh", 6_000).await, 23);
    assert_users_are_golden(&world);
    // Replaying all records changes nothing: on equal versions the later record wins, and it is identical. Workers are
    // killed first.
    let published = world.killed_often(worker, "users_mesh", &[]).await;
    world.streamed("users_mesh", published + 6_000).await;
    assert_users_are_golden(&world);
}

pub(crate) fn assert_users_are_golden(world: &World) {
    let select = "select id, name, email, to_char(signup_ts, '%Y-%m-%dT%H:%M:%S%.3fZ') as signup_ts, age from db.users \
                  order by cast(id as int)";
    let found = world.run(&["sql", select, "-o", "csv", "--limit", "10000"]).done();
    assert_golden("users_final_state", found.trim_end());
}

/// Compares texts exactly, and numbers approximately from column `numbers_from` on.
#[track_caller]
pub(crate) fn assert_close(found: &str, golden: &str, numbers_from: usize) {
    let golden = data::text(&format!("golden/{golden}.csv"));
    let rounded = |text: &str| {
        let mut all = String::new();
        for line in text.trim_end().lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let (texts, numbers) = cells.split_at(numbers_from);
            let numbers: Vec<String> =
                numbers.iter().map(|cell| format!("{:.5}", cell.parse::<f64>().unwrap())).collect();
            writeln!(all, "{},{}", texts.join(","), numbers.join(",")).unwrap();
        }
        all
    };
    assert_eq!(rounded(found), rounded(&golden));
}

/// Returns the number of times that the worker of a stream is killed.
#[expect(clippy::disallowed_methods, reason = "it says how long a test takes")]
fn kills() -> usize {
    if std::env::var_os("ORCH_TEST_LONG").is_some() { 200 } else { Moment::ALL.len() }
}

/// State of the stream in which its worker is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// The worker has leased the stream, and has published nothing.
    Leased,
    /// The publishing transaction is open in the database; files are written.
    Committing,
    /// The transaction is committed. The worker may not have received the response.
    Committed,
}

impl Moment {
    const ALL: [Moment; 3] = [Moment::Leased, Moment::Committing, Moment::Committed];

    /// Returns a query that is true in this state of stream `$1`, which had `$2` records. Run it on the connection that
    /// holds the advisory lock.
    const fn sql(self) -> &'static str {
        match self {
            Moment::Leased => "select process is not null and records = $2 from stream where name = $1",
            Moment::Committing => {
                "select records = $2 and exists
                  (select from pg_stat_activity
                    where datname = current_database() and pg_backend_pid() = any (pg_blocking_pids(pid)))
                from stream where name = $1"
            }
            Moment::Committed => "select records > $2 from stream where name = $1",
        }
    }
}

/// Makes a transaction that publishes records wait while a test holds the advisory lock of its stream.
const GATE: &str = "
    create or replace function pass() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock_shared(hashtext(new.name)); return null; end $$;
    create or replace trigger gate after update on stream for each row
      when (new.records > old.records) execute function pass()";

/// Timeout of everything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(2);
/// Notifies tests of commits of a stream, because the stream itself sends no notification.
const TELL: &str = "
    create or replace function tell() returns trigger language plpgsql as $$ begin notify moved; return null; end $$;
    create or replace trigger tell after insert or update on stream for each statement execute function tell()";

impl World {
    pub(crate) fn produce(&self, topic: &str, flags: &[&str], lines: &[&str]) {
        let said = self.run_with_input(&[&["topics", "produce", topic], flags].concat(), &(lines.join("\n") + "\n"));
        said.done();
    }

    /// Resets the stream to the earliest offset and kills its worker, repeatedly and in each state in turn. The last
    /// worker is not killed. Returns the number of records that were published before it started.
    async fn killed_often(&mut self, worker: u32, stream: &str, flags: &[&str]) -> i64 {
        let reset = [&["streams", "reset", stream, "--to-earliest"], flags].concat();
        let mut db = self.db().await;
        sqlx::raw_sql(GATE).execute(&mut db).await.unwrap();
        self.kill(worker);
        self.run(&reset).done();
        let mut published = published(&mut db, stream).await;
        for moment in Moment::ALL.into_iter().cycle().take(kills()) {
            sqlx::query("select pg_advisory_lock(hashtext($1))").bind(stream).execute(&mut db).await.unwrap();
            let worker = self.start_worker();
            if moment == Moment::Committed {
                self.until(Moment::Committing, &mut db, stream, published).await;
                sqlx::query("select pg_advisory_unlock_all()").execute(&mut db).await.unwrap();
            }
            self.until(moment, &mut db, stream, published).await;
            self.kill(worker);
            sqlx::query("select pg_advisory_unlock_all()").execute(&mut db).await.unwrap();
            // The server may still execute the last transaction of the worker; the command waits for it.
            self.run(&reset).done();
            let before = published;
            published = self::published(&mut db, stream).await;
            assert_eq!(
                published > before,
                moment == Moment::Committed,
                "{moment:?}: {before} records, {published} records"
            );
        }
        self.start_worker();
        published
    }

    /// Polls: Postgres sends no event when a transaction starts to wait, and sends notifications only after the commit.
    async fn until(&self, moment: Moment, db: &mut PgConnection, stream: &str, published: i64) {
        let until = Instant::now() + PATIENCE;
        while !sqlx::query_scalar::<_, bool>(moment.sql())
            .bind(stream)
            .bind(published)
            .fetch_one(&mut *db)
            .await
            .unwrap()
        {
            assert!(Instant::now() < until, "{moment:?} does not come: {}", self.said());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the stream has published this number of records, checking whenever its row changes. Returns the
    /// number of quarantined records.
    pub(crate) async fn streamed(&self, stream: &str, records: i64) -> i64 {
        let mut db = self.db().await;
        sqlx::raw_sql(TELL).execute(&mut db).await.unwrap();
        let mut moved = self.listen("moved").await;
        let until = Instant::now() + PATIENCE;
        loop {
            let row: Option<(i64, i64, i64, Option<String>)> = sqlx::query_as(
                "select records, quarantined,
                  coalesce((select sum(p.end_offset - p.next_offset) from stream_partition p where p.stream = s.name), -1)::bigint,
                  error from stream s where name = $1",
            )
            .bind(stream)
            .fetch_optional(&mut db)
            .await
            .unwrap();
            if let Some((found, quarantined, 0, None)) = row
                && found >= records
            {
                assert_eq!(found, records, "no record is counted twice");
                return quarantined;
            }
            let heard = tokio::time::timeout_at(until, moved.recv()).await;
            assert!(heard.is_ok(), "{row:?}\n{}", self.said());
        }
    }
}

async fn published(db: &mut PgConnection, stream: &str) -> i64 {
    sqlx::query_scalar("select records from stream where name = $1").bind(stream).fetch_one(db).await.unwrap()
}
