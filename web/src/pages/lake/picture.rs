//! Chart on the page of a table. Its query is the table property `orch.chart`, or is derived from the columns: a
//! measure over the first time column, or the number of rows per day. Only users who may read data see it, and the
//! page omits a chart that takes too long.

use crate::pages::sql::SqlForm;
use crate::pages::sql::results::draw;
use crate::parts::Chart;
use crate::queries::for_user;
use orch_store::lake_view::{CHART, LakeError, LakeTable, LakeView, Query, QueryLimits, collect_answer, is_time};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Timeout for the query of the chart.
const TIME: Duration = Duration::from_secs(10);
/// Larger tables are drawn only if they declare a query.
const MOST_ROWS: u64 = 2_000_000;
/// Maximum number of points in the chart.
const POINTS: usize = 400;

/// Chart with its title and query, or the reason why there is no chart.
pub(crate) struct Picture {
    pub(crate) sql: String,
    pub(crate) title: String,
    pub(crate) chart: Result<Chart, String>,
}

pub(crate) async fn picture(lake: &dyn LakeView, table: &LakeTable, is_admin: bool) -> Option<Picture> {
    let declared = table.properties.get(CHART).filter(|sql| !sql.trim().is_empty()).cloned();
    let usual = || table.usual_chart(POINTS).filter(|_| (1..=MOST_ROWS).contains(&table.totals.rows));
    let sql = declared.or_else(usual)?;
    let (title, chart) = match ask(lake, &sql).await {
        Ok((title, chart)) => (title, chart.ok_or_else(|| "There are no numbers to draw yet.".into())),
        Err(error) => (String::new(), Err(for_user(error, is_admin).to_string())),
    };
    Some(Picture { sql, title, chart })
}

async fn ask(lake: &dyn LakeView, sql: &str) -> Result<(String, Option<Chart>), LakeError> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let limits = QueryLimits { rows: POINTS, time: TIME, ..QueryLimits::default() };
    let rows = lake.query(Query::new(sql, limits), stop).await?;
    let answer = collect_answer(rows, Instant::now()).await?;
    let is_time = answer.columns.first().is_some_and(|column| is_time(&column.data_type));
    let look = if is_time { "line" } else { "bar" };
    let title = answer.columns.get(1).map(|column| column.name.replace('_', " ")).unwrap_or_default();
    let wish = SqlForm { chart: look.into(), ..SqlForm::default() };
    Ok((title, draw(&answer, &wish).ok().flatten()))
}
