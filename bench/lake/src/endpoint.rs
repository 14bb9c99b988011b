//! The catalog over HTTP: one client that commits, and the listing of a long namespace.

use crate::place::{catalog, lake_called, on_runtime};
use crate::serving::{KEY, LAKE, Server, add_key};
use crate::tables::{batches, rows, table};
use anyhow::{Context, Result, ensure};
use orch_bench::{Bench, Figure, percentile};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::time::Instant;

const TABLE: &str = "/v1/namespaces/bench/tables/committed";
/// Snapshots of the table before the first commit.
const SNAPSHOTS: i64 = 100;
const LISTED: i64 = 10_000;
const PAGE: i64 = 1_000;

pub(crate) fn requests(bench: &mut Bench) -> Result<Vec<Figure>> {
    let commits = bench.times(200, 20);
    let (url, warehouse) = (catalog(bench)?, bench.data().data().join("lake"));
    on_runtime(async {
        let lake = lake_called(LAKE, &url, &warehouse).await?;
        let mut table = table(&lake, "bench.committed").await?;
        for number in 0..SNAPSHOTS {
            table = table.append(batches(rows(number..=number, 0)?)).await?.commit(&lake).await?.table;
        }
        add_tables(&url).await?;
        add_key(&url, "all").await
    })?;
    let server = Server::start(bench, "catalog")?;
    let agent = crate::serving::agent();
    let ask = |path: &str, body: Option<&Value>| -> Result<Value> {
        let (url, key) = (format!("{}{path}", server.address), format!("Bearer {KEY}"));
        let mut answer = match body {
            None => agent.get(&url).header("authorization", key).call(),
            Some(body) => {
                let sent = agent.post(&url).header("authorization", key).header("content-type", "application/json");
                sent.send(serde_json::to_vec(body)?)
            }
        }
        .with_context(|| url.clone())?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status() == 200, "{url}: {} {text}", answer.status());
        Ok(serde_json::from_str(&text)?)
    };

    let mut found = ask(TABLE, None)?;
    let mut took = Vec::with_capacity(commits);
    for _ in 0..commits {
        let change = next(&found["metadata"])?;
        let start = Instant::now();
        found = ask(TABLE, Some(&change))?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }

    let (mut pages, mut listed, mut token) = (vec![], 0, String::new());
    loop {
        let start = Instant::now();
        let page = ask(&format!("/v1/namespaces/many/tables?pageSize={PAGE}&pageToken={token}"), None)?;
        pages.push(start.elapsed().as_secs_f64() * 1e3);
        listed += page["identifiers"].as_array().context("names")?.len();
        let Some(next) = page["next-page-token"].as_str() else { break };
        next.clone_into(&mut token);
    }
    ensure!(listed as i64 == LISTED, "{listed} tables are listed");
    Ok(vec![
        Figure::new("catalog_commit_p95_ms", percentile(&took, 0.95), took.len())
            .with("p50_ms", percentile(&took, 0.5))
            .with("snapshots", SNAPSHOTS as u64),
        Figure::new("catalog_page_ms", percentile(&pages, 1.0), pages.len())
            .with("p50_ms", percentile(&pages, 0.5))
            .with("tables", LISTED as u64),
    ])
}

/// Inserts only the names, because a listing does not open the tables.
async fn add_tables(url: &str) -> Result<()> {
    let mut db = PgConnection::connect(url).await?;
    let add = "insert into lake.iceberg_tables (catalog_name, table_namespace, table_name, metadata_location)
        select catalog_name, 'many', 'table_' || n, metadata_location from lake.iceberg_tables, generate_series(1, $1) n
        where table_namespace = 'bench' and table_name = 'committed'";
    sqlx::query(add).bind(LISTED).execute(&mut db).await?;
    Ok(())
}

/// Returns a new snapshot with the files of the current one.
fn next(metadata: &Value) -> Result<Value> {
    let current = &metadata["current-snapshot-id"];
    let snapshots = metadata["snapshots"].as_array().context("snapshots")?;
    let last = snapshots.iter().find(|one| &one["snapshot-id"] == current).context("a snapshot")?;
    let id = snapshots.iter().filter_map(|one| one["snapshot-id"].as_i64()).max().context("an id")? + 1;
    let mut snapshot = last.clone();
    snapshot["snapshot-id"] = json!(id);
    snapshot["parent-snapshot-id"] = current.clone();
    snapshot["sequence-number"] = json!(metadata["last-sequence-number"].as_i64().context("a number")? + 1);
    Ok(json!({
        "requirements": [{ "type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": current }],
        "updates": [
            { "action": "add-snapshot", "snapshot": snapshot },
            { "action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id },
        ],
    }))
}
