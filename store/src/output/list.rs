//! Outputs by their names, as people look at them.

use crate::{StoreResult, boxed, name_pattern::NamePattern};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};
use uuid::Uuid;

/// An output without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRow {
    pub task: TaskIdx,
    pub map_index: i32,
    pub key: String,
    pub created_at: DateTime<Utc>,
}

/// Which outputs of a run; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct OutputFilter {
    pub tasks: Option<Vec<TaskIdx>>,
    pub map_index: Option<i32>,
    pub key: Option<String>,
    pub keys: NamePattern,
    /// Each with whether it descends; at last in the order of the DAG, by element and key.
    pub order: Vec<(OutputOrder, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputOrder {
    /// In the order of the DAG.
    Task,
    MapIndex,
    Key,
    Age,
}

impl OutputOrder {
    fn column(self) -> &'static str {
        match self {
            OutputOrder::Task => "task",
            OutputOrder::MapIndex => "map_index",
            OutputOrder::Key => "key",
            OutputOrder::Age => "created_at",
        }
    }
}

/// The most in one answer.
const MOST_LISTED: i64 = 1_000;

#[boxed]
pub async fn list_outputs(
    db: &mut PgConnection,
    run: Uuid,
    filter: &OutputFilter,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<OutputRow>> {
    let mut query = QueryBuilder::<Postgres>::new("select task, map_index, key, created_at from output");
    filter.push(&mut query, run);
    query.push(" order by ");
    for (order, descends) in &filter.order {
        query.push(order.column()).push(if *descends { " desc, " } else { ", " });
    }
    query.push("task, map_index, key offset ").push_bind(skip.max(0));
    query.push(" limit ").push_bind(most.clamp(0, MOST_LISTED));
    let rows: Vec<(i16, i32, String, DateTime<Utc>)> = query.build_query_as().fetch_all(db).await?;
    let row = |(task, map_index, key, created_at)| OutputRow { task: task as TaskIdx, map_index, key, created_at };
    Ok(rows.into_iter().map(row).collect())
}

/// How many there are in all.
#[boxed]
pub async fn count_outputs(db: &mut PgConnection, run: Uuid, filter: &OutputFilter) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from output");
    filter.push(&mut query, run);
    Ok(query.build_query_scalar().fetch_one(db).await?)
}

impl OutputFilter {
    fn push(&self, query: &mut QueryBuilder<Postgres>, run: Uuid) {
        query.push(" where run = ").push_bind(run);
        if let Some(tasks) = &self.tasks {
            let tasks: Vec<i16> = tasks.iter().map(|task| *task as i16).collect();
            query.push(" and task = any(").push_bind(tasks).push(")");
        }
        if let Some(index) = self.map_index {
            query.push(" and map_index = ").push_bind(index);
        }
        if let Some(key) = &self.key {
            query.push(" and key = ").push_bind(key.clone());
        }
        self.keys.push(query, "key");
    }
}
