//! The dashboards of the bundle with real processes: their values equal those of DuckDB over the same files or golden
//! files. Includes a dashboard file that is added at run time.

use crate::data;
use crate::http::ask;
use crate::world::World;
use orch::Dashboard;
use orch_test_support::guide::{examples, guide};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A web server on the database of a world, and the token of a user who may read data.
pub(crate) struct Dashboards {
    address: String,
    token: String,
}

impl Dashboards {
    pub(crate) async fn open(world: &mut World) -> Dashboards {
        let token = world.add_key("op", "all").await;
        let (_, address) = world.start_server(&["web", "--port", "0", "--admin-password", "a long password"]);
        Dashboards { address: address.trim_end_matches('/').into(), token }
    }

    /// Returns the API response: the rows or the error of each panel.
    fn rows(&self, dashboard: &str, filters: &[&str]) -> Value {
        let filters: Vec<String> = filters.iter().map(|filter| format!("filter={filter}")).collect();
        let path = format!("/api/orch/v1/dashboards/{dashboard}?{}", filters.join("&"));
        let answer = ask(&self.address, &path, &[&format!("Authorization: Bearer {}", self.token)]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

/// Returns the rows of a panel as CSV.
fn csv(rows: &Value, panel: &str) -> String {
    let all = rows["panels"].as_array().unwrap();
    let found = all.iter().find(|one| one["id"] == panel).unwrap_or_else(|| panic!("no panel `{panel}`"));
    assert_eq!(found["problem"], Value::Null, "{panel}");
    let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    let line = |row: &Value| row.as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(",") + "\n";
    found["rows"].as_array().unwrap().iter().map(line).collect()
}

/// Returns some columns of a golden file, without its header.
fn golden(name: &str, columns: &[usize]) -> Vec<String> {
    let text = data::text(&format!("golden/{name}.csv"));
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        columns.iter().map(|at| cells[*at]).collect::<Vec<_>>().join(",")
    };
    text.lines().skip(1).map(line).collect()
}

/// Compares the shop's dashboard over all days, so that every row of the gold tables counts.
pub(crate) async fn the_shop_is_golden(world: &mut World) {
    let shop = Dashboards::open(world).await.rows("retail", &["days:400"]);
    assert_eq!(csv(&shop, "revenue-by-day").lines().collect::<Vec<_>>(), golden("orders_time_series", &[0, 2]));
    let days = golden("orders_time_series", &[1]);
    let orders: u64 = days.iter().map(|orders| orders.parse::<u64>().unwrap()).sum();
    assert_eq!(csv(&shop, "orders"), format!("{orders},0\n"));
    let best = data::text("golden/top10_customers.csv");
    let found = csv(&shop, "best-customers");
    let revenue = |line: &str| line.rsplit(',').next().unwrap().to_owned();
    assert!(found.lines().map(revenue).eq(best.lines().skip(1).map(revenue)), "{found}");
    for (panel, name, columns, most) in [
        ("states-by-revenue", "sales_by_state", [0, 2], 15),
        ("products-that-sell-best", "sales_by_product", [1, 3], 10),
        ("categories-that-sell-best", "sales_by_category", [1, 3], 10),
    ] {
        let mut expected = golden(name, &columns);
        let cents = |line: &String| line.rsplit(',').next().unwrap().replace('.', "").parse::<u64>().unwrap();
        expected.sort_by_key(|line| std::cmp::Reverse(cents(line)));
        expected.truncate(most);
        assert_eq!(csv(&shop, panel).lines().collect::<Vec<_>>(), expected, "{panel}");
    }
    assert_eq!(
        csv(&shop, "revenue-by-department-and-day").lines().count(),
        golden("sales_by_department_daily", &[2]).iter().filter(|name| !name.is_empty()).count()
    );
}

/// Compares the dashboards of trips, weather and forecasts with DuckDB over the files and over the tables.
pub(crate) async fn trips_and_weather_are_as_duckdb_says(world: &mut World) {
    let dashboards = Dashboards::open(world).await;
    let folder = world.path().join("looked");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, dashboard, filters) in [
        ("city", "taxi", &["day:2019-01-05", "days:3", "known:2019-01-20"][..]),
        ("queens", "taxi", &["day:2019-01-05", "days:3", "known:2019-01-20", "borough:Queens"]),
        ("weather", "weather", &["until:2019-01-05", "days:2"]),
    ] {
        let rows = dashboards.rows(dashboard, filters);
        std::fs::write(folder.join(format!("{name}.json")), rows.to_string()).unwrap();
    }
    for table in ["analytics.trip_weather_correlation", "ml.borough_forecast", "weather.hourly_weather"] {
        let text = world.run(&["sql", &format!("select * from {table}"), "-o", "csv", "--limit", "0"]).done();
        std::fs::write(folder.join(format!("{table}.csv")), text).unwrap();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut check = Command::new(orch_test_support::data_python());
    check.arg(root.join("tests/dags/dashboards/expected.py")).arg(&folder);
    let files = ["taxi/taxi_zone_lookup.csv", "taxi/yellow_tripdata_sample_2019-01.csv.gz"];
    let said = check.args(files.map(|file| data::folder().join(file))).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.ends_with("done\n"), "{out}\n{err}");
}

#[test]
fn the_example_of_the_guide_is_a_dashboard() {
    let examples = examples(&guide("dashboards"), "yaml");
    let [(_, example)] = examples.as_slice() else { panic!("{} examples", examples.len()) };
    assert!(example.lines().count() <= 10, "it says ten lines");
    Dashboard::read("orders.dashboard.yaml", example.as_bytes()).unwrap();
}
