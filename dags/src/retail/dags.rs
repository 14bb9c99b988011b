//! The DAGs: four that follow each other by assets, as the document has them, and one that is all of it.

use super::options::Retail;
use super::schema::{GOLD, RAW, SILVER};
use super::tasks::{generate_gold_tables, ingest, load, transform_newest, transform_retail_data};
use orch::prelude::*;
use orch::{Asset, DagBuilder};

pub fn dags() -> Vec<Dag> {
    vec![retail_medallion(), mysql_to_minio_ingestion(), silver_retail_etl(), gold_retail_etl(), minio_to_postgres()]
}

/// What one of the four leaves for the next. The tables themselves are assets of their own: these are updated by the
/// other DAG, too, which needs nobody to follow it.
fn extracted(table: &str) -> Asset {
    asset(&format!("pipeline://mysql_to_minio_ingestion/{table}")).named(&format!("extracted {table}")).group("retail")
}

fn silver_is_made() -> Asset {
    asset("pipeline://silver_retail_etl").named("silver is made").group("retail")
}

fn gold_is_made() -> Asset {
    asset("pipeline://gold_retail_etl").named("gold is made").group("retail")
}

fn retail_dag(id: &str, description: &str) -> DagBuilder {
    dag(id)
        .describe(description)
        .start("2025-01-01")
        .tags(["retail"])
        .owners(["airflow"])
        .runbook(
            "Read the log of the failed task. If a server did not answer, check its connection on the page Connections. Then clear \
             the task: it replaces what it wrote before.",
        )
}

/// Source, raw, silver, gold, Postgres in one DAG. By hand, by a backfill of order dates, or whenever you schedule it.
fn retail_medallion() -> Dag {
    retail_dag("retail_medallion", "The retail pipeline as a whole: MySQL → raw → silver → gold → Postgres")
        .alias("retail-medallion")
        .build(|d| {
            let options = d.params::<Retail>();
            let raw = d.group(group("raw").doc("One object of each table of the source"), |g| {
                RAW.map(|table| g.add(ingest(table.name, None::<String>, options).id(format!("ingest_{}", table.name))))
            });
            let silver = d.add(transform_retail_data(raw));
            let gold = d.add(generate_gold_tables().after(silver));
            d.group(group("postgres").doc("Every table, for people and their tools"), |g| {
                for table in SILVER {
                    g.add(load(table.name).id(format!("load_silver_{}", table.name)).after(silver));
                }
                for table in GOLD {
                    g.add(load(table.name).id(format!("load_gold_{}", table.name)).after(gold));
                }
            });
        })
}

fn mysql_to_minio_ingestion() -> Dag {
    retail_dag("mysql_to_minio_ingestion", "Every table of the source into the bucket `raw-retail-data`, each day")
        .alias("ingest-retail-data-mysql")
        .schedule("@daily")
        // Its first run would come at once, and be in the way of whoever tries `retail_medallion`.
        .paused()
        .build(|d| {
            let options = d.params::<Retail>();
            for table in &RAW {
                let uri = extracted(table.name);
                let call = ingest(table.name, Some(uri.uri.clone()), options);
                d.add(call.id(format!("ingest_{}", table.name)).outlet(uri));
            }
        })
}

fn silver_retail_etl() -> Dag {
    retail_dag("silver_retail_etl", "Dimensions and facts of what was extracted, into the bucket `silver-retail-data`")
        .alias("retail-silver-data-etl")
        .schedule(on_assets(RAW.iter().map(|table| extracted(table.name)).collect::<Vec<_>>()))
        .build(|d| {
            d.add(transform_newest().id("transform_retail_data").outlet(silver_is_made()));
        })
}

fn gold_retail_etl() -> Dag {
    retail_dag("gold_retail_etl", "Sums over the facts, into the bucket `gold-retail-data`")
        .alias("retail-gold-data-etl")
        .schedule(silver_is_made())
        .build(|d| {
            d.add(generate_gold_tables().outlet(gold_is_made()));
        })
}

fn minio_to_postgres() -> Dag {
    retail_dag("minio_to_postgres", "Silver, then gold, into the schema `retail` of Postgres")
        .alias("load-silver-gold-retail-postgres")
        .alias("load-silver-gold-retail-postgress")
        .schedule(gold_is_made())
        .build(|d| {
            let silver: Vec<_> =
                SILVER.iter().map(|table| d.add(load(table.name).id(format!("load_silver_{}", table.name)))).collect();
            for table in &GOLD {
                d.add(load(table.name).id(format!("load_gold_{}", table.name)).after(silver.clone()));
            }
        })
}
