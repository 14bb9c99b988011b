//! Compares `dags/README.md` with the code: its tables list every DAG and every stream, and its recipes work.

use crate::golden::SILVER;
use chrono::DateTime;
use orch::{AssetRef, Schedule};
use orch_dags::common::model::{Model, models};
use orch_dags::retail::tables::{self, GOLD, NAMESPACE, RAW};
use orch_dags::taxi::schema::{DAILY_INPUTS, TRIPS};
use orch_lake::TableSpec;
use orch_lake::contract::{Contract, Facts, KeySet};
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{batches_of, from_batches};
use orch_test_support::guide::examples;
use polars::prelude::df;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(folder().join("README.md")).unwrap()
}

/// Returns the rows of the table whose first line starts with `head`, as cells.
fn rows<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// Returns the text between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Returns the file that a cell links to.
fn linked(cell: &str) -> PathBuf {
    let (_, link) = cell.split_once("](").unwrap_or_else(|| panic!("no link: {cell}"));
    folder().join(link.trim_end_matches(')'))
}

/// Returns a schedule in the notation of the table. Several assets must be in one folder.
fn shown(schedule: &Schedule) -> String {
    let uri = |asset: &AssetRef| match asset {
        AssetRef::Asset(asset) => asset.uri.clone(),
        AssetRef::Alias(name) => panic!("alias `{name}`"),
    };
    match schedule {
        Schedule::Manual => "manual".to_owned(),
        Schedule::Cron { expression, timezone } if timezone == "UTC" => format!("`{expression}`"),
        Schedule::Cron { expression, timezone } => format!("`{expression}` {timezone}"),
        Schedule::Assets(assets) => {
            let uris: Vec<String> = assets.leaves().iter().map(uri).collect();
            let folder = uris[0].rsplit_once('/').unwrap().0;
            match uris.as_slice() {
                [one] => format!("update of `{one}`"),
                all => {
                    assert!(all.iter().all(|uri| uri.rsplit_once('/').unwrap().0 == folder), "{all:?}");
                    format!("updates of `{folder}/*`")
                }
            }
        }
        other => panic!("the table shows no schedule such as {other:?}"),
    }
}

#[test]
fn the_table_of_dags_is_what_the_bundle_declares() {
    let (readme, dags) = (readme(), orch_dags::dags());
    let rows = rows(&readme, "| DAG |");
    let listed: Vec<&str> = rows.iter().filter_map(|row| quoted(row[0]).next()).collect();
    let declared: BTreeSet<&str> = dags.iter().map(|dag| dag.spec().dag_id.as_str()).collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), declared);
    assert_eq!(listed.len(), declared.len(), "a DAG is listed twice");
    for dag in &dags {
        let (spec, id) = (dag.spec(), dag.spec().dag_id.as_str());
        let row = rows.iter().find(|row| quoted(row[0]).next() == Some(id)).unwrap();
        let [names, _, schedule, file, _, command] = row.as_slice() else {
            panic!("`{id}` has other columns: {row:?}")
        };
        let aliases: Vec<&str> = spec.aliases.iter().map(String::as_str).collect();
        assert_eq!(quoted(names).skip(1).collect::<Vec<_>>(), aliases, "aliases of `{id}`");
        assert_eq!(*schedule, shown(&spec.schedule), "schedule of `{id}`");
        let code = std::fs::read_to_string(linked(file)).unwrap_or_else(|error| panic!("`{id}`: {error}"));
        assert!(code.contains(&format!("\"{id}\"")), "{file} does not declare `{id}`");
        let command = command.trim_matches('`');
        let rest = command.strip_prefix(&format!("orch dags trigger {id}")).unwrap_or_else(|| panic!("{command}"));
        if let Some(conf) = rest.strip_prefix(" --conf '").and_then(|rest| rest.strip_suffix('\'')) {
            let conf: serde_json::Value = serde_json::from_str(conf).unwrap();
            assert!(conf.is_object(), "{command}");
        } else {
            assert_eq!(rest, "", "{command}");
        }
    }
}

#[test]
fn the_table_of_streams_is_what_the_bundle_declares() {
    let (readme, streams) = (readme(), orch_dags::streams());
    let rows = rows(&readme, "| stream |");
    let listed: Vec<&str> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let declared: BTreeSet<&str> = streams.iter().map(orch_streams::Stream::name).collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), declared);
    assert_eq!(listed.len(), declared.len(), "a stream is listed twice");
    for row in &rows {
        let [_, _, _, file] = row.as_slice() else { panic!("other columns: {row:?}") };
        assert!(linked(file).is_file(), "{file}");
    }
}

/// Returns the SQL files of models.
fn files(of: &[Model]) -> Vec<(&'static str, String)> {
    let sql = folder().join("src/retail/sql");
    let read = |name: &str| std::fs::read_to_string(sql.join(name).with_extension("sql")).unwrap();
    of.iter().map(|model| (model.table.name, read(model.table.name))).collect()
}

/// Reads changed SQL files like the pipeline reads its own.
fn changed(inputs: &[TableSpec], files: Vec<(&'static str, String)>) -> Vec<Model> {
    let leaked = files.into_iter().map(|(name, text)| {
        let text: &'static str = text.leak();
        (name, text)
    });
    models(NAMESPACE, inputs, leaked.collect::<Vec<_>>().leak()).unwrap()
}

/// Returns the silver tables of the sample database.
fn silver() -> SqlFrames {
    let mut frames = SqlFrames::default();
    SILVER.iter().for_each(|made| frames.set(made.model.table.name, made.frame.clone()));
    frames
}

fn facts() -> Facts {
    Facts::at(DateTime::UNIX_EPOCH)
}

#[test]
fn a_gold_table_is_one_more_file() {
    let recipes = examples(&readme(), "sql");
    let (_, recipe) = recipes.into_iter().find(|(_, text)| text.contains("customer_city")).unwrap();
    let mut files = files(&GOLD);
    files.push(("sales_by_city", recipe));
    let gold = changed(&tables::silver(), files);
    assert_eq!(gold.len(), GOLD.len() + 1);
    let by_city = gold.last().unwrap();
    assert_eq!(by_city.table.key, ["customer_city", "customer_state"]);
    let columns: Vec<&str> = by_city.table.column_names().collect();
    assert_eq!(columns, ["customer_city", "customer_state", "total_orders", "total_revenue"]);
    assert_eq!(by_city.reads, ["customer_dim", "orders_fact"]);

    let mut frames = silver();
    for model in &gold {
        let made = frames.query(model.statement).unwrap();
        frames.set(model.table.name, made);
    }
    let rows = |model: &Model| frames.batches(model.statement, model.table.key, &model.table.schema()).unwrap();
    let report = by_city.contract().check(&rows(by_city), &facts()).unwrap();
    report.ok().unwrap();
    assert_eq!((report.rows_quarantined(), report.removed.by_rule["revenue"]), (0, 0));
    let by_state = gold.iter().find(|model| model.table.name == "sales_by_state").unwrap();
    let [cities, states] = [by_city, by_state].map(|model| {
        let frame = from_batches(&rows(model)).unwrap();
        (frame.height(), frame.column("total_orders").unwrap().as_materialized_series().sum::<i64>().unwrap())
    });
    assert!(cities.0 > states.0, "{cities:?} {states:?}");
    assert_eq!(cities.1, states.1, "every order is of one city and one state");
}

#[test]
fn a_rule_of_a_retail_table_is_one_more_line() {
    let readme = readme();
    let recipe = quoted(&readme).find(|text| text.starts_with("-- quarantine price: ")).unwrap();
    let mut files = files(&tables::SILVER);
    let (name, text) = files.last_mut().unwrap();
    assert_eq!(*name, "orders_fact");
    // The sample has items of quantity 5, so a rule that forbids this quantity must quarantine exactly these items.
    *text = text.replacen("SELECT", &format!("{recipe}\n-- quarantine bulk: order_item_quantity < 5\nSELECT"), 1);
    let edited = changed(&RAW, files);
    let (before, after) = (tables::SILVER.last().unwrap(), edited.last().unwrap());
    assert_eq!((after.statement, after.table.key), (before.statement, before.table.key));

    let frame = |name: &str| &SILVER.iter().find(|made| made.model.table.name == name).unwrap().frame;
    let keys = |table: &str, key: &str| {
        KeySet::of(&batches_of(frame(table).select([key]).unwrap()).unwrap().1, &[key]).unwrap()
    };
    let facts = facts()
        .keys("customer_dim", keys("customer_dim", "customer_id"))
        .keys("product_dim", keys("product_dim", "product_id"));
    let TableSpec { key, .. } = before.table;
    let rows = silver().batches("SELECT * FROM orders_fact", key, &before.table.schema()).unwrap();
    let quantities = frame("orders_fact").column("order_item_quantity").unwrap().i32().unwrap();
    let bulk = quantities.iter().flatten().filter(|quantity| *quantity >= 5).count();
    assert!(bulk > 0);
    let [without, with] = [before, after].map(|model| model.contract().check(&rows, &facts).unwrap());
    assert_eq!((without.rows_quarantined(), with.rows_quarantined()), (0, bulk));
    assert_eq!(with.findings.len(), without.findings.len() + 2);
    assert_eq!((with.removed.by_rule["bulk"], with.removed.by_rule["price"]), (bulk as u64, 0));
}

#[test]
fn a_column_of_the_daily_taxi_table_is_one_line_in_each_of_two_files() {
    let readme = readme();
    let mut files: Vec<(&'static str, String)> = ["sums", "daily_summary"].map(|name| (name, String::new())).into();
    for (name, text) in &mut files {
        let path = format!("src/taxi/sql/{name}.sql");
        let row = rows(&readme, "| file | add |").into_iter().find(|row| row[0].contains(&path)).unwrap();
        let [added, before] = [1, 2].map(|cell| row[cell].trim_matches('`').trim_end_matches('…'));
        for line in std::fs::read_to_string(folder().join(&path)).unwrap().lines() {
            if line.trim_start().starts_with(before) {
                text.push_str(&format!("{added}\n"));
            }
            text.push_str(&format!("{line}\n"));
        }
    }
    let edited = changed(&DAILY_INPUTS, files);
    assert!(edited[1].table.column("card_trips").is_some_and(|column| column.nullable));

    let given = TRIPS.column_names().map(|name| match name {
        "pickup_datetime" => "CAST(day * 86400000000 AS TIMESTAMP) AS pickup_datetime".to_owned(),
        "payment_type" => "paid AS payment_type".to_owned(),
        name => format!("NULL AS {name}"),
    });
    let statement = format!("SELECT {} FROM trips", given.collect::<Vec<_>>().join(", "));
    let mut frames = SqlFrames::default();
    frames.set("trips", df!("day" => [1_i64, 1, 1, 2], "paid" => [1_i64, 2, 1, 2]).unwrap());
    frames.set("clock", df!("micros" => [0_i64]).unwrap());
    for (name, statement) in [("rows", &*statement), ("sums", edited[0].statement), ("days", edited[1].statement)] {
        let made = frames.query(statement).unwrap();
        frames.set(name, made);
    }
    let found = frames.query("SELECT card_trips FROM days ORDER BY trip_date").unwrap();
    assert!(found.equals(&df!("card_trips" => [2_i64, 0]).unwrap()), "{found}");
}

/// Returns the kind of each value of a tuple: `text` or `number`.
fn kinds(tuple: &str) -> Option<Vec<&'static str>> {
    let values = tuple.split(" //").next()?.trim().strip_prefix('(')?.strip_suffix("),")?.split(", ");
    Some(values.map(|value| if value.starts_with('"') { "text" } else { "number" }).collect())
}

#[test]
fn a_city_is_one_more_line() {
    let readme = readme();
    let rows = rows(&readme, "| file | used by |");
    assert!(rows.len() >= 3, "{rows:?}");
    for row in rows {
        let path = quoted(row[0]).next().unwrap();
        let code = std::fs::read_to_string(folder().join(path)).unwrap();
        let (_, cities) = code.split_once("const CITIES").unwrap_or_else(|| panic!("`{path}` has no `CITIES`"));
        let Some(added) = kinds(quoted(row[2]).next().unwrap()) else { continue };
        let known: Vec<_> = cities.lines().skip(1).map_while(kinds).collect();
        assert!(!known.is_empty() && known.iter().all(|city| *city == added), "{path}: {added:?} beside {known:?}");
    }
}

#[test]
fn a_rule_of_trips_is_one_more_line() {
    let recipes = examples(&readme(), "rust");
    let (_, recipe) = recipes.into_iter().find(|(_, text)| text.contains("trip_distance")).unwrap();
    let parts: Vec<&str> = recipe.split('"').skip(1).step_by(2).collect();
    let [name, condition] = parts.as_slice() else { panic!("a rule is a name and a condition: {recipe}") };
    let trips = df!("trip_distance" => [1.0, 100.0, 100.5, 250.0]).unwrap();
    let contract = Contract::of("lake://nyc_taxi/trips").rules([(*name, *condition)]).or_remove();
    let removed = contract.check(&batches_of(trips).unwrap().1, &facts()).unwrap().removed;
    assert_eq!((removed.rows, removed.by_rule[*name]), (2, 2));
}
