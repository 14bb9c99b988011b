//! The retail DAGs. `retail_medallion` is the whole pipeline; four DAGs run its steps one at a time, triggered by
//! assets; five do it on Spark; two load a CSV file.

use super::gold::generate_gold_tables;
use super::ingest::ingest;
use super::load::load;
use super::options::Retail;
use super::silver::{transform_newest, transform_retail_data};
use super::spark;
use super::tables::{GOLD, RAW, SILVER};
use super::transactions;
use orch::prelude::*;
use orch::{Asset, DagBuilder};

pub fn dags() -> Vec<Dag> {
    vec![
        retail_medallion(),
        mysql_to_minio_ingestion(),
        silver_retail_etl(),
        gold_retail_etl(),
        minio_to_postgres(),
        ingest_mysql_to_raw(),
        process_raw_to_silver(),
        process_silver_to_gold(),
        silver_gold_to_postgres(),
        retail_master_pipeline(),
        transactions::etl_minio_postgres(),
        transactions::read_minio_csv(),
    ]
}

fn retail_dag(id: &str, description: &str) -> DagBuilder {
    dag(id).describe(description).start("2025-01-01").tags(["retail"]).owners(["airflow"]).runbook(
        "Read the log of the failed task. If a server did not answer, check its connection on the page Connections. Then clear \
         the task: it replaces what it wrote before.",
    )
}

/// MySQL → raw → silver → gold → Postgres in one DAG: manual, by a backfill of order dates, or on your schedule.
fn retail_medallion() -> Dag {
    retail_dag("retail_medallion", "The retail pipeline as a whole: MySQL → raw → silver → gold → Postgres")
        .alias("retail-medallion")
        .build(|d| {
            let options = d.params::<Retail>();
            let raw = d.group(group("raw").doc("Each source table as one object in the bucket"), |g| {
                RAW.map(|table| g.add(ingest(table.name, None::<String>, options).id(format!("ingest_{}", table.name))))
            });
            let silver = d.add(transform_retail_data(raw));
            let gold = d.add(generate_gold_tables().after(silver));
            d.group(group("postgres").doc("Every table of silver and gold, for people and their tools"), |g| {
                for name in SILVER.iter().map(|model| model.table.name) {
                    g.add(load(name).id(format!("load_silver_{name}")).after(silver));
                }
                for name in GOLD.iter().map(|model| model.table.name) {
                    g.add(load(name).id(format!("load_gold_{name}")).after(gold));
                }
            });
        })
}

/// Returns the asset that triggers `silver_retail_etl`. The tables themselves cannot trigger it, because
/// `retail_medallion` updates them, too.
fn extracted(table: &str) -> Asset {
    asset(&format!("pipeline://mysql_to_minio_ingestion/{table}")).named(&format!("extracted {table}")).group("retail")
}

fn silver_is_made() -> Asset {
    asset("pipeline://silver_retail_etl").named("silver is made").group("retail")
}

fn gold_is_made() -> Asset {
    asset("pipeline://gold_retail_etl").named("gold is made").group("retail")
}

fn mysql_to_minio_ingestion() -> Dag {
    retail_dag("mysql_to_minio_ingestion", "Every table of the source into the bucket `raw-retail-data`, each day")
        .alias("ingest-retail-data-mysql")
        .schedule("@daily")
        // Unpaused, its first run would start immediately and compete with a first run of `retail_medallion`.
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
            let add = |layer: &str, name: &'static str| load(name).id(format!("load_{layer}_{name}"));
            let silver: Vec<_> = SILVER.iter().map(|model| d.add(add("silver", model.table.name))).collect();
            for model in GOLD.iter() {
                d.add(add("gold", model.table.name).after(silver.clone()));
            }
        })
}

/// Limits the DAG to one run at a time, because concurrent runs would build the same tables.
fn spark_dag(id: &str, description: &str) -> DagBuilder {
    retail_dag(id, description).tags(["retail", "spark"]).max_active_runs(1)
}

fn ingest_mysql_to_raw() -> Dag {
    spark_dag("ingest_mysql_to_raw_spark", "Every table of the source into the bucket `spark-raw-retail-data`")
        .alias("ingest_mysql_to_raw")
        .build(|d| {
            let made = d.add(spark::ingest().id("ingest_mysql_raw_spark"));
            d.add(trigger_dag(TriggerDag::dag("process_raw_to_silver")).id("trigger_raw_to_silver").after(made));
        })
}

fn process_raw_to_silver() -> Dag {
    let about = "Dimensions and facts of raw, into the bucket `spark-silver-retail-data`";
    spark_dag("process_raw_to_silver", about).build(|d| {
        let made = d.add(spark::raw_to_silver());
        d.add(trigger_dag(TriggerDag::dag("process_silver_to_gold")).id("trigger_silver_to_gold").after(made));
    })
}

fn process_silver_to_gold() -> Dag {
    spark_dag("process_silver_to_gold", "Sums over the facts, into the bucket `spark-gold-retail-data`").build(|d| {
        let made = d.add(spark::silver_to_gold());
        let next = TriggerDag::dag("silver_gold_to_postgres");
        d.add(trigger_dag(next).id("trigger_silver_gold_to_postgres").after(made));
    })
}

fn silver_gold_to_postgres() -> Dag {
    spark_dag("silver_gold_to_postgres", "Silver and gold into the schema `retail_spark` of Postgres")
        .alias("silver_gold_postgres_dag")
        .build(|d| {
            d.add(spark::to_postgres().id("write_silver_gold_to_postgres"));
        })
}

fn retail_master_pipeline() -> Dag {
    spark_dag("retail_master_pipeline", "MySQL → raw → silver → gold → Postgres, one after the other")
        .alias("master_raw_silver_gold_retail_spark")
        .build(|d| {
            let raw = d.add(spark::ingest().id("ingest_mysql_to_raw"));
            let silver = d.add(spark::raw_to_silver().after(raw));
            let gold = d.add(spark::silver_to_gold().after(silver));
            d.add(spark::to_postgres().id("gold_to_postgres").after(gold));
        })
}
