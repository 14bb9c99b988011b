//! Runs the queries of a dashboard. Cached results are returned immediately, others when they are available.

use super::values::{self, Values};
use super::{LoadedDashboard, Outcome};
use crate::extract::Query as Given;
use crate::state::App;
use orch_document::dashboard::Panel;
use orch_store::lake_view::{
    AnswerKey, LakeError, LakeResult, Query, QueryAnswer, QueryLimits, Sources, SqlValue, SqlValues, TableId,
    cell_text, collect_answer,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// A panel is a chart or a page of a table, not a data set.
const LIMITS: QueryLimits = QueryLimits { rows: 5_000, bytes: 8 << 20, time: Duration::from_secs(30) };
/// Timeout of a page for all its panels together. Panels that take longer are drawn later.
const PATIENCE: Duration = Duration::from_millis(1_200);
/// Timeout for the default or the choices of a filter, which the other queries need.
const PATIENCE_OF_VALUES: Duration = Duration::from_secs(10);
/// Timeout of an API request for rows, which waits for all of them.
const PATIENCE_OF_ROWS: Duration = Duration::from_mins(2);
/// Time after which a query that failed temporarily is retried.
const FAILED_FOR: Duration = Duration::from_secs(30);
/// Maximum number of retries while the lake is busy with other queries.
const MOST_TURNS: usize = 15;

pub(crate) struct DashboardAnswers {
    pub(crate) values: Values,
    /// One result per panel.
    pub(crate) panels: Vec<Rows>,
}

#[derive(Debug, Clone)]
pub(crate) enum Rows {
    Here(Arc<Result<QueryAnswer, LakeError>>),
    /// The query is still running.
    Coming,
    /// The query was not run, because a filter has no valid value.
    Unasked,
    /// These tables do not exist in the lake yet.
    Missing(Vec<TableId>),
    Problem(LakeError),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum DashboardQuery<'a> {
    Default(&'a str),
    Choices(&'a str),
    Panel(&'a Panel),
}

impl DashboardQuery<'_> {
    fn sql(&self) -> &str {
        match self {
            DashboardQuery::Default(sql) | DashboardQuery::Choices(sql) => sql,
            DashboardQuery::Panel(panel) => &panel.sql,
        }
    }
}

/// A dashboard with the metadata locations of its tables.
pub(crate) struct DashboardSources<'a> {
    app: &'a App,
    name: &'a str,
    sources: Vec<(String, LakeResult<Sources>)>,
}

/// Returns all queries of a dashboard, with null for all values. The tables that they read do not depend on the values.
pub(super) fn queries(shown: &LoadedDashboard) -> Vec<Query> {
    let filters = &shown.dashboard.filters;
    let nothing: SqlValues = filters.iter().map(|filter| (filter.name.clone(), SqlValue::Null)).collect();
    let of_filters = filters.iter().flat_map(|filter| [&filter.default_sql, &filter.choices_sql]).flatten();
    let of_panels = shown.dashboard.panels.iter().map(|panel| &panel.sql);
    let query = |sql: &String| Query { values: nothing.clone(), ..Query::new(sql.trim(), LIMITS) };
    of_filters.chain(of_panels).map(query).collect()
}

/// Looks up the newest metadata locations of a dashboard's tables. Returns an error if the lake is unavailable.
async fn look_up<'a>(app: &'a App, shown: &'a LoadedDashboard) -> LakeResult<DashboardSources<'a>> {
    let queries = queries(shown);
    let names: Vec<String> = queries.iter().map(|query| query.sql.clone()).collect();
    let sources = app.config.lake.open().await?.sources(queries).await?;
    Ok(DashboardSources { app, name: &shown.dashboard.name, sources: names.into_iter().zip(sources).collect() })
}

/// Returns the results that are available within [`PATIENCE`]. Returns an error if the lake is unavailable.
pub(crate) async fn ask(app: &App, shown: &LoadedDashboard, given: &Given) -> LakeResult<DashboardAnswers> {
    found(app, shown, given, &shown.dashboard.panels, PATIENCE).await
}

/// Returns the rows of the given panels after at most [`PATIENCE_OF_ROWS`]. Returns an error if the lake is
/// unavailable.
pub(crate) async fn the_rows(
    app: &App,
    shown: &LoadedDashboard,
    given: &Given,
    panels: &[Panel],
) -> LakeResult<DashboardAnswers> {
    found(app, shown, given, panels, PATIENCE_OF_ROWS).await
}

async fn found(
    app: &App,
    shown: &LoadedDashboard,
    given: &Given,
    panels: &[Panel],
    patience: Duration,
) -> LakeResult<DashboardAnswers> {
    let asked = look_up(app, shown).await?;
    let values = values::read(&asked, shown, given).await;
    if !values.are_right() {
        return Ok(DashboardAnswers { panels: vec![Rows::Unasked; panels.len()], values });
    }
    // All queries start before the first one is awaited.
    let begun: Vec<Begun> = panels.iter().map(|panel| asked.begin(DashboardQuery::Panel(panel), &values.sql)).collect();
    let until = tokio::time::Instant::now() + patience;
    let mut rows = Vec::with_capacity(begun.len());
    for one in begun {
        rows.push(one.wait(until).await);
    }
    Ok(DashboardAnswers { values, panels: rows })
}

/// Returns the first column of a query without values as text, or an empty list if the query has no result.
pub(super) async fn first_column(asked: &DashboardSources<'_>, wanted: DashboardQuery<'_>) -> Vec<String> {
    let until = tokio::time::Instant::now() + PATIENCE_OF_VALUES;
    let Rows::Here(answer) = asked.begin(wanted, &SqlValues::new()).wait(until).await else { return Vec::new() };
    let rows = answer.as_ref().as_ref().map_or(&[][..], |answer| &answer.rows);
    rows.iter()
        .filter_map(|row| row.first().filter(|cell| !cell.is_null()))
        .map(|cell| cell_text(cell).into())
        .collect()
}

enum Begun {
    Known(Rows),
    Coming(oneshot::Receiver<Outcome>),
}

impl Begun {
    async fn wait(self, until: tokio::time::Instant) -> Rows {
        match self {
            Begun::Known(rows) => rows,
            Begun::Coming(outcome) => match tokio::time::timeout_at(until, outcome).await {
                Ok(Ok(outcome)) => Rows::Here(outcome.answer),
                _ => Rows::Coming,
            },
        }
    }
}

impl DashboardSources<'_> {
    fn begin(&self, wanted: DashboardQuery<'_>, values: &SqlValues) -> Begun {
        let sql = wanted.sql().trim();
        let sources = match self.sources.iter().find(|(known, _)| known == sql) {
            Some((_, Ok(sources))) => sources,
            Some((_, Err(error))) => return Begun::Known(Rows::Problem(error.clone())),
            None => return Begun::Known(Rows::Coming),
        };
        let missing = sources.tables.iter().filter(|(_, place)| place.is_none()).map(|(table, _)| table.clone());
        let missing: Vec<TableId> = missing.collect();
        if !missing.is_empty() {
            return Begun::Known(Rows::Missing(missing));
        }
        if let Some(word) = &sources.changing {
            let text = format!(
                "`{word}` gives another answer while the tables stay the same, so the page would not be drawn again\nhint: take a \
                 filter, and give it a `default_sql` such as `select max(day) from …`"
            );
            return Begun::Known(Rows::Problem(LakeError::Refused(text)));
        }
        let key = key(sql, values, sources);
        let known = &self.app.dashboards.answers;
        match known.known(key) {
            Some(outcome) if outcome.is_over() => known.forget(key),
            Some(outcome) => return Begun::Known(Rows::Here(outcome.answer)),
            None => {}
        }
        self.compute(key, Query { values: values.clone(), ..Query::new(sql, LIMITS) })
    }

    /// Runs the query in a background task. If the page stops waiting, the result is cached for the next one.
    fn compute(&self, key: AnswerKey, query: Query) -> Begun {
        let (tell, outcome) = oneshot::channel();
        let (app, name) = (self.app.clone(), self.name.to_owned());
        let stop = app.stopping.child_token();
        let job = async move {
            let shared = &app.dashboards;
            let made = shared.answers.get(key, async { Ok(compute(&app, query, &stop).await) });
            let made = tokio::select! { made = made => made, () = stop.cancelled() => return };
            if let Ok(outcome) = made
                && tell.send(outcome).is_err()
            {
                shared.came_late(&name);
            }
        };
        if self.app.dashboards.spawn(job) {
            Begun::Coming(outcome)
        } else {
            let text = "too many panels are waited for\nhint: load the page again in a moment";
            Begun::Known(Rows::Problem(LakeError::Busy(text.into())))
        }
    }
}

fn key(sql: &str, values: &SqlValues, sources: &Sources) -> AnswerKey {
    // Serializing these values cannot fail.
    let values = serde_json::to_vec(values).unwrap_or_default();
    let places = serde_json::to_vec(&sources.tables).unwrap_or_default();
    AnswerKey::of(&[sql.as_bytes(), &values, &places])
}

impl Outcome {
    /// Returns whether a temporary failure is old enough for a retry.
    fn is_over(&self) -> bool {
        use LakeError::{Broken, Busy, Cancelled, Unavailable};
        let is_passing = matches!(*self.answer, Err(Busy(_) | Unavailable(_) | Broken(_) | Cancelled));
        is_passing && self.at.elapsed() > FAILED_FOR
    }
}

async fn compute(app: &App, query: Query, stop: &CancellationToken) -> Outcome {
    let _turn = app.dashboards.turns.acquire().await;
    let mut answer = answer(app, query.clone(), stop).await;
    for _ in 0..MOST_TURNS {
        if !matches!(answer, Err(LakeError::Busy(_))) {
            break;
        }
        answer = self::answer(app, query.clone(), stop).await;
    }
    Outcome { answer: Arc::new(answer), at: Instant::now() }
}

async fn answer(app: &App, query: Query, stop: &CancellationToken) -> LakeResult<QueryAnswer> {
    let began = Instant::now();
    let rows = app.config.lake.open().await?.query(query, stop.clone()).await?;
    collect_answer(rows, began).await
}
