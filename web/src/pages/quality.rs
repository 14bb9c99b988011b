//! `/quality`: how good the data is: for each asset that somebody made promises about how fresh it is, what contracts found
//! last, how that went before, and which rows are aside.

use super::assets::lines::FindingLine;
use super::home::task_href;
use super::{Shell, encoded, html};
use crate::parts::{self, Strip, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::asset::CheckOutcome;
use orch_store::asset::{
    Finding, QualitySummary, WatchedAsset, looks_at, newest_findings, outcomes_at, watched_assets,
};
use orch_store::lake_view::{TableId, TableRow};
use sqlx::PgConnection;
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "pages/quality.html")]
struct QualityPage {
    shell: Shell,
    /// All is well, or what is not.
    sentence: String,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    /// If it is not the name.
    uri: Option<String>,
    href: Option<String>,
    /// The page of its table, if it is one of the lake.
    table: Option<String>,
    /// Fresh or not; nothing where nobody promised.
    fresh: Option<bool>,
    updated: Option<parts::Ago>,
    /// Which sign, and which words: `25 checks: 1 failed`.
    state: parts::State,
    words: String,
    strip: Strip,
    /// Rows that are aside, and the page of the table where they are.
    aside: Option<(String, Option<String>)>,
    looked: Option<(parts::Ago, String, String)>,
    findings: Vec<FindingLine>,
}

/// Assets on the page.
const MOST_LINES: i64 = 200;
/// Results of each that its picture is made of.
const RESULTS: i64 = 600;

/// All that is known of how good the data is, the worst first.
pub(crate) struct Quality {
    pub(crate) asset: WatchedAsset,
    /// Newest first.
    pub(crate) looks: Vec<QualitySummary>,
    pub(crate) findings: Vec<Finding>,
}

impl Quality {
    pub(crate) fn outcome(&self) -> Option<CheckOutcome> {
        self.looks.first().map(QualitySummary::outcome)
    }

    pub(crate) fn is_in_trouble(&self) -> bool {
        self.asset.stale_since.is_some() || self.outcome() == Some(CheckOutcome::Fail)
    }

    /// What needs somebody, what is worth a look, and the rest.
    fn rank(&self) -> u8 {
        match self.outcome() {
            _ if self.is_in_trouble() => 0,
            Some(CheckOutcome::Quarantined | CheckOutcome::Warn) => 1,
            _ => 2,
        }
    }
}

/// Three statements, however many assets there are: of each its last `most_looks`.
pub(crate) async fn quality(
    db: &mut PgConnection,
    most: i64,
    results: i64,
    most_looks: i64,
) -> Result<Vec<Quality>, Refusal> {
    let assets = watched_assets(db, most).await?;
    let uris: Vec<String> = assets.iter().map(|asset| asset.uri.clone()).collect();
    let mut looks: HashMap<String, Vec<QualitySummary>> = HashMap::new();
    for look in looks_at(db, &uris, results, most_looks).await? {
        looks.entry(look.uri.clone()).or_default().push(look);
    }
    let mut findings: HashMap<String, Vec<Finding>> = HashMap::new();
    for finding in newest_findings(db, &uris).await? {
        findings.entry(finding.uri.clone()).or_default().push(finding);
    }
    let mut all: Vec<Quality> = assets
        .into_iter()
        .map(|asset| Quality {
            looks: looks.remove(&asset.uri).unwrap_or_default(),
            findings: findings.remove(&asset.uri).unwrap_or_default(),
            asset,
        })
        .collect();
    all.sort_by_key(Quality::rank);
    Ok(all)
}

pub(crate) async fn show(State(app): State<App>, shell: Shell) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let all = quality(&mut db, MOST_LINES, RESULTS, 1).await?;
    let uris: Vec<String> = all.iter().map(|one| one.asset.uri.clone()).collect();
    let mut outcomes = outcomes_at(&mut db, &uris, RESULTS, Strip::PLACES as i64).await?;
    drop(db);
    // A lake that is not there, or cannot be reached, takes away a column and no more.
    let tables = match app.config.lake.open().await {
        Ok(lake) if !all.is_empty() => lake.tables().await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let page = QualityPage {
        sentence: sentence(&all),
        lines: all
            .into_iter()
            .map(|one| {
                let outcomes = outcomes.remove(&one.asset.uri).unwrap_or_default();
                line(one, outcomes, &tables, shell.now)
            })
            .collect(),
        shell,
    };
    html(StatusCode::OK, &page)
}

fn sentence(all: &[Quality]) -> String {
    let count = |is: &dyn Fn(&Quality) -> bool| all.iter().filter(|one| is(one)).count();
    let failed = count(&|one| one.outcome() == Some(CheckOutcome::Fail));
    let stale = count(&|one| one.asset.stale_since.is_some());
    let noted = count(&|one| one.rank() == 1);
    let words = [
        (failed, "breaks its contract", "break their contracts"),
        (stale, "is stale", "are stale"),
        (noted, "has something to note", "have something to note"),
    ];
    let found = words.into_iter().filter(|(number, ..)| *number > 0);
    let parts: Vec<String> =
        found.map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many })).collect();
    match (parts.is_empty(), all.len()) {
        (true, 0) => String::new(),
        (true, _) => "Everything is as it was promised.".into(),
        (false, count) => format!("Of {count}, {}.", parts.join(", ")),
    }
}

fn line(one: Quality, outcomes: Vec<CheckOutcome>, tables: &[TableRow], now: ZonedNow) -> Line {
    let id = TableId::of_asset(&one.asset.uri);
    let of_lake = |id: &TableId| tables.iter().find(|table| table.id == *id);
    let table = id.as_ref().and_then(of_lake).map(|table| super::lake::href(&table.id));
    let put_aside = id.as_ref().map(TableId::quarantine);
    let quarantine = put_aside.as_ref().and_then(of_lake);
    let last = one.looks.first();
    let aside = match (quarantine, last) {
        (Some(table), _) => Some((rows_aside(table.totals.rows), Some(super::lake::href(&table.id)))),
        (None, Some(look)) if look.rows_aside > 0 => Some((rows_aside(look.rows_aside.unsigned_abs()), None)),
        _ => None,
    };
    let outcome = one.outcome();
    Line {
        uri: (one.asset.uri != one.asset.name).then(|| one.asset.uri.clone()),
        href: one.asset.asset.map(super::assets::href),
        table,
        fresh: one.asset.fresh_within_ms.map(|_| one.asset.stale_since.is_none()),
        updated: one.asset.last_event_at.map(|at| parts::ago(at, now)),
        state: parts::bare(outcome.map_or("none", parts::as_state)),
        words: last.map_or_else(|| "no contract".into(), words),
        strip: Strip::new(&one.asset.name, outcomes.into_iter()),
        aside,
        looked: last.map(|look| {
            let run_href = format!("{}/runs/{}", dag_href(&look.dag_id), encoded(&look.run_id));
            let href = task_href(&run_href, &look.task_id, look.map_index);
            (parts::ago(look.at, now), format!("{}.{}", look.dag_id, look.task_id), href)
        }),
        findings: one.findings.iter().map(FindingLine::new).collect(),
        name: one.asset.name,
    }
}

fn rows_aside(rows: u64) -> String {
    format!("{} aside", parts::counted(parts::count(rows), "row"))
}

/// `25 checks: 1 failed, 2 warn`.
fn words(look: &QualitySummary) -> String {
    let checks = parts::counted(look.checks, "check");
    let all = [(look.failed, "failed"), (look.quarantined, "put rows aside"), (look.warned, "warn")];
    let found: Vec<String> =
        all.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    if found.is_empty() {
        return format!("{checks} passed");
    }
    format!("{checks}: {}", found.join(", "))
}

/// An asset whose newest look found what may not be, for the first page.
pub(crate) struct Broken {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) words: String,
    pub(crate) sample: String,
    pub(crate) ago: parts::Ago,
}

/// One line for each asset, at most so many.
pub(crate) async fn broken(db: &mut PgConnection, most: usize, now: ZonedNow) -> Result<Vec<Broken>, Refusal> {
    let assets = watched_assets(db, MOST_LINES).await?;
    let uris: Vec<String> = assets.iter().map(|asset| asset.uri.clone()).collect();
    let findings = newest_findings(db, &uris).await?;
    let first = |uri: &str| {
        let mut of = findings.iter().filter(|one| one.uri == uri);
        of.find(|one| one.check.result.outcome == CheckOutcome::Fail)
    };
    let lines = assets.into_iter().filter_map(|asset| {
        let finding = first(&asset.uri)?;
        let line = FindingLine::new(finding);
        Some(Broken {
            href: asset.asset.map_or_else(|| "/quality".into(), super::assets::href),
            ago: parts::ago(finding.check.at, now),
            name: asset.name,
            words: line.words,
            sample: line.sample,
        })
    });
    Ok(lines.take(most).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn quality_summary(failed: i64, warned: i64, quarantined: i64) -> QualitySummary {
        QualitySummary {
            uri: "lake://a/b".into(),
            attempt: Uuid::nil(),
            dag_id: "d".into(),
            run_id: "r".into(),
            task_id: "t".into(),
            map_index: -1,
            try_no: 1,
            at: chrono::DateTime::UNIX_EPOCH,
            checks: 5,
            failed,
            warned,
            quarantined,
            rows_aside: quarantined,
        }
    }

    #[test]
    fn a_look_is_said_by_what_it_found() {
        assert_eq!(words(&quality_summary(0, 0, 0)), "5 checks passed");
        assert_eq!(words(&quality_summary(1, 2, 0)), "5 checks: 1 failed, 2 warn");
        assert_eq!(quality_summary(0, 1, 1).outcome(), CheckOutcome::Quarantined);
        let asset = |stale: bool| WatchedAsset {
            uri: "lake://a/b".into(),
            asset: Some(1),
            name: "b".into(),
            fresh_within_ms: Some(1),
            stale_since: stale.then_some(chrono::DateTime::UNIX_EPOCH),
            last_event_at: None,
        };
        let of = |stale, look| Quality { asset: asset(stale), looks: vec![look], findings: Vec::new() };
        let all = [
            of(false, quality_summary(1, 0, 0)),
            of(true, quality_summary(0, 0, 0)),
            of(false, quality_summary(0, 1, 0)),
        ];
        assert_eq!(sentence(&all), "Of 3, 1 breaks its contract, 1 is stale, 1 has something to note.");
        assert_eq!(sentence(&[of(false, quality_summary(0, 0, 0))]), "Everything is as it was promised.");
    }
}
