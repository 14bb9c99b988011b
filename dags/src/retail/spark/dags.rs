//! The DAGs of the document: four of which each starts the next, and one that is all of it.

use super::tasks::{ingest, raw_to_silver, silver_to_gold, to_postgres};
use orch::DagBuilder;
use orch::prelude::*;

pub fn dags() -> Vec<Dag> {
    vec![
        ingest_mysql_to_raw(),
        process_raw_to_silver(),
        process_silver_to_gold(),
        silver_gold_to_postgres(),
        retail_master_pipeline(),
    ]
}

/// Two runs at once would make the same tables.
fn spark_dag(id: &str, description: &str) -> DagBuilder {
    dag(id)
        .describe(description)
        .start("2025-01-01")
        .tags(["retail", "scenario 3", "spark"])
        .owners(["airflow"])
        .max_active_runs(1)
}

fn ingest_mysql_to_raw() -> Dag {
    spark_dag("ingest_mysql_to_raw_spark", "Every table of the source into the bucket `spark-raw-retail-data`")
        .alias("ingest_mysql_to_raw")
        .build(|d| {
            let made = d.add(ingest().id("ingest_mysql_raw_spark"));
            d.add(trigger_dag(TriggerDag::dag("process_raw_to_silver")).id("trigger_raw_to_silver").after(made));
        })
}

fn process_raw_to_silver() -> Dag {
    spark_dag("process_raw_to_silver", "Dimensions and facts of raw, into the bucket `spark-silver-retail-data`").build(
        |d| {
            let made = d.add(raw_to_silver());
            d.add(trigger_dag(TriggerDag::dag("process_silver_to_gold")).id("trigger_silver_to_gold").after(made));
        },
    )
}

fn process_silver_to_gold() -> Dag {
    spark_dag("process_silver_to_gold", "Sums over the facts, into the bucket `spark-gold-retail-data`").build(|d| {
        let made = d.add(silver_to_gold());
        let next = TriggerDag::dag("silver_gold_to_postgres");
        d.add(trigger_dag(next).id("trigger_silver_gold_to_postgres").after(made));
    })
}

fn silver_gold_to_postgres() -> Dag {
    spark_dag("silver_gold_to_postgres", "Silver and gold into the schema `retail_spark` of Postgres")
        .alias("silver_gold_postgres_dag")
        .build(|d| {
            d.add(to_postgres().id("write_silver_gold_to_postgres"));
        })
}

fn retail_master_pipeline() -> Dag {
    spark_dag("retail_master_pipeline", "MySQL → raw → silver → gold → Postgres, one after the other")
        .alias("master_raw_silver_gold_retail_spark")
        .build(|d| {
            let raw = d.add(ingest().id("ingest_mysql_to_raw"));
            let silver = d.add(raw_to_silver().after(raw));
            let gold = d.add(silver_to_gold().after(silver));
            d.add(to_postgres().id("gold_to_postgres").after(gold));
        })
}
