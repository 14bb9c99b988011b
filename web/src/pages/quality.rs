//! `/quality`: data quality of the assets that have a contract or a freshness limit: freshness, latest check results
//! and their history, and quarantined rows.

use super::assets::lines::FindingLine;
use super::filters::Filters;
use super::home::task_href;
use super::turned::Turned;
use super::{Shell, encoded, html};
use crate::api::quality::{COLUMNS, MOST, Quality, RESULTS, quality};
use crate::extract::Query;
use crate::parts::{self, Strip, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::asset::CheckOutcome;
use orch_store::asset::{QualitySummary, newest_findings, outcomes_at, watched_assets};
use orch_store::lake_view::{TableId, TableRow};
use sqlx::PgConnection;

#[derive(Template)]
#[template(path = "pages/quality.html")]
struct QualityPage {
    shell: Shell,
    /// Summary of problems, or that there are none.
    sentence: String,
    /// True if more assets are watched than were read.
    is_cut: bool,
    filters: Filters,
    lines: Vec<AssetQuality>,
    before: Option<String>,
    after: Option<String>,
}

struct AssetQuality {
    name: String,
    /// `None` if it equals the name.
    uri: Option<String>,
    href: Option<String>,
    /// Page of the lake table, if the asset is one.
    table: Option<String>,
    /// True if the asset is fresh; `None` if it has no freshness limit.
    fresh: Option<bool>,
    updated: Option<parts::Ago>,
    /// Icon and summary, such as `25 checks: 1 failed`.
    state: parts::State,
    words: String,
    strip: Strip,
    /// Number of quarantined rows, and the page of the table that contains them.
    aside: Option<(String, Option<String>)>,
    looked: Option<(parts::Ago, String, String)>,
    findings: Vec<FindingLine>,
}

/// Maximum number of assets on the page without filters. It is small because each change renders that page again.
const MOST_LOOKED_AT: i64 = 200;
const OF_A_PAGE: i64 = 100;

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let (search, filters) = Filters::read(query, COLUMNS, &[], shell.now)?;
    let filters = filters.alone();
    let mut db = app.pages().await?;
    let all = quality(&mut db, if filters.are_asked() { MOST } else { MOST_LOOKED_AT }).await?;
    let may_be_cut = !filters.are_asked() && all.len() as i64 == MOST_LOOKED_AT;
    let is_cut = may_be_cut && watched_assets(&mut db, MOST_LOOKED_AT + 1).await?.len() as i64 > MOST_LOOKED_AT;
    let sentence = sentence(&all, is_cut);
    let mut rows = search.page(turned.skip(), turned.most()).pick(all, Quality::cell).rows;
    let (before, after) = turned.cut(&mut rows, |page| format!("/quality?page={page}{}", filters.rest(&[])));
    let uris: Vec<String> = rows.iter().map(|one| one.asset.uri.clone()).collect();
    let mut outcomes = outcomes_at(&mut db, &uris, RESULTS, Strip::PLACES as i64).await?;
    drop(db);
    // If the lake does not exist or cannot be reached, only the links to tables are missing.
    let tables = match app.config.lake.open().await {
        Ok(lake) if !rows.is_empty() => lake.tables().await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let page = QualityPage {
        sentence,
        is_cut,
        filters,
        lines: rows
            .into_iter()
            .map(|one| {
                let outcomes = outcomes.remove(&one.asset.uri).unwrap_or_default();
                line(one, outcomes, &tables, shell.now)
            })
            .collect(),
        before,
        after,
        shell,
    };
    html(StatusCode::OK, &page)
}

fn sentence(all: &[Quality], is_cut: bool) -> String {
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
    let found_words: Vec<String> =
        found.map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many })).collect();
    let first = format!("Among the first {} by URI", parts::counted(all.len(), "asset"));
    match (found_words.join(", "), all.len()) {
        (_, 0) => String::new(),
        (found, _) if is_cut && found.is_empty() => format!("{first}, everything is as it was promised."),
        (found, _) if is_cut => format!("{first}, {found}."),
        (found, _) if found.is_empty() => "Everything is as it was promised.".into(),
        (found, count) => format!("Of {count}, {found}."),
    }
}

fn line(one: Quality, outcomes: Vec<CheckOutcome>, tables: &[TableRow], now: ZonedNow) -> AssetQuality {
    let id = TableId::of_asset(&one.asset.uri);
    let of_lake = |id: &TableId| tables.iter().find(|table| table.id == *id);
    let table = id.as_ref().and_then(of_lake).map(|table| super::lake::href(&table.id));
    let put_aside = id.as_ref().map(TableId::quarantine);
    let quarantine = put_aside.as_ref().and_then(of_lake);
    let last = one.look.as_ref();
    let aside = match (quarantine, last) {
        (Some(table), _) => Some((rows_aside(table.totals.rows), Some(super::lake::href(&table.id)))),
        (None, Some(look)) if look.rows_aside > 0 => Some((rows_aside(look.rows_aside.unsigned_abs()), None)),
        _ => None,
    };
    let outcome = one.outcome();
    AssetQuality {
        uri: (one.asset.uri != one.asset.name).then(|| one.asset.uri.clone()),
        href: one.asset.asset.map(super::assets::href),
        table,
        // Until its first update is due, an asset is neither fresh nor stale.
        fresh: one
            .asset
            .fresh_within_ms
            .filter(|_| one.asset.stale_since.is_some() || one.asset.last_event_at.is_some())
            .map(|_| one.asset.stale_since.is_none()),
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

/// Returns a summary such as `25 checks: 1 failed, 2 warn`.
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

/// An asset whose latest check failed, for the home page.
pub(crate) struct Broken {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) words: String,
    pub(crate) sample: String,
    pub(crate) ago: parts::Ago,
}

/// Returns one line per asset, at most `most`.
pub(crate) async fn broken(db: &mut PgConnection, most: usize, now: ZonedNow) -> Result<Vec<Broken>, Refusal> {
    let assets = watched_assets(db, MOST_LOOKED_AT).await?;
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
    use orch_store::asset::WatchedAsset;
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
        let of = |stale, look| Quality { asset: asset(stale), look: Some(look), findings: Vec::new() };
        let all = [
            of(false, quality_summary(1, 0, 0)),
            of(true, quality_summary(0, 0, 0)),
            of(false, quality_summary(0, 1, 0)),
        ];
        let found = "1 breaks its contract, 1 is stale, 1 has something to note.";
        assert_eq!(sentence(&all, false), format!("Of 3, {found}"));
        assert_eq!(sentence(&all, true), format!("Among the first 3 assets by URI, {found}"));
        let well = [of(false, quality_summary(0, 0, 0))];
        assert_eq!(sentence(&well, false), "Everything is as it was promised.");
        assert_eq!(sentence(&well, true), "Among the first 1 asset by URI, everything is as it was promised.");
    }
}
