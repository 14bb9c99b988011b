//! Tests the pages of the lake, the SQL console and the quality checks in Chromium, on data of the hourly weather. Uses
//! only the defaults of `make run`, without a key or network. This is the longest test; its name makes it start early.

use crate::standalone::{PASSWORD, Standalone};
use crate::weather::DAG;
use crate::weather::api::{Api, Mood, ago};
use orch_test_support::browser::drive;
use orch_test_support::guide::{examples, guide};
use serde_json::json;

const ROUTES: [&str; 16] = [
    "/",
    "/login",
    "/assets",
    "/assets/{asset_id}",
    "/dashboards",
    "/dashboards/{dashboard_name}",
    "/lake",
    "/lake/{namespace}/{table}",
    "/lake/{namespace}/{table}/files",
    "/lake/{namespace}/{table}/lineage",
    "/lake/{namespace}/{table}/nulls",
    "/lake/{namespace}/{table}/partitions",
    "/lake/{namespace}/{table}/sample",
    "/lake/{namespace}/{table}/snapshots",
    "/quality",
    "/sql",
];
/// Paths that the crawl does not leave.
const WITHIN: [&str; 5] = ["/lake", "/quality", "/sql", "/assets", "/dashboards"];
const QUERY: &str = "select \"timestamp\", temperature_celsius from weather.hourly_weather order by 1";

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_lake_are_right_in_light_in_dark_and_on_a_phone() {
    let standalone = Standalone::start();
    // Wait for a scheduled run with sample data, without a key and without a network.
    let done = ["dags", "list-runs", DAG, "--state", "success", "-o", "json"];
    standalone.wait_for(&done, |ended| ended.out.contains("scheduled__"));
    let examples = examples(&guide("weather"), "sql");
    for query in examples.iter().flat_map(|(_, all)| all.split(";\n")).filter(|one| !one.trim().is_empty()) {
        standalone.run(&["sql", query]).done();
    }
    // Use an API that returns some invalid values.
    let api = Api::start(Mood::Changed(|answer| {
        let (odd, hole) = (ago(answer, 17), ago(answer, 13));
        answer["hourly"]["temperature_2m"][odd] = json!(999.0);
        answer["hourly"]["temperature_2m"][hole] = json!(null);
    }))
    .await;
    standalone.run(&["connections", "add", "weather_api", "--conn-uri", &api.uri("open-meteo", "")]).done();
    // A worker caches its connections for a few seconds.
    let aside = ["assets", "checks", "lake://weather/hourly_weather", "--outcome", "quarantined", "-o", "json"];
    standalone.wait_for(&aside, |ended| {
        let is_there = ended.out.contains("quarantined");
        if !is_there {
            standalone.run(&["dags", "trigger", DAG, "--wait"]).done();
        }
        is_there
    });
    // Fills the retail dashboard. The taxi dashboard reports its missing tables.
    standalone.run(&["dags", "trigger", "retail_medallion", "--wait"]).done();
    let list = |all: &[&str]| serde_json::to_string(all).unwrap();
    let settings = [
        ("ORCH_ROUTES", list(&ROUTES)),
        (
            "ORCH_STARTS",
            list(&["/lake", "/quality", "/sql", "/dashboards/weather", "/dashboards/retail", "/dashboards/taxi"]),
        ),
        ("ORCH_WITHIN", list(&WITHIN)),
        ("ORCH_QUERY", QUERY.into()),
    ];
    drive("walk.mjs", &[], (&standalone.url, PASSWORD), "screens-lake", &settings);
}
