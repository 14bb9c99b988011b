//! Published queries with real processes: the documented endpoints through the Python client compared with DuckDB, keys
//! and roles, cache invalidation by commits, and invalid requests.

use crate::analytics::{DAG, world_of};
use crate::dashboards::trips_and_weather_are_as_duckdb_says;
use crate::data;
use crate::http::{PlainResponse, ask};
use crate::standalone::{PASSWORD, Standalone};
use crate::weather;
use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_lake::Filter;
use orch_serving::Endpoint;
use orch_test_support::attack::query_processes;
use orch_test_support::guide::{examples, guide};
use orch_test_support::until;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

const SERVER: [&str; 3] = ["serving", "--port", "0"];
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const ZONES: &str = "/api/v1/analytics/zones?start_date=2019-01-03&end_date=2019-01-05&limit=3";
const STATS: &str = "/api/v1/dashboard/stats?day=2019-01-05";

fn get(address: &str, path: &str, key: &str) -> PlainResponse {
    ask(address, path, &[&format!("X-API-Key: {key}")])
}

fn json(answer: &PlainResponse) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {} {}", answer.head, answer.body))
}

fn header<'a>(answer: &'a PlainResponse, name: &str) -> &'a str {
    let found = answer.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no `{name}`: {}", answer.head))
}

#[test]
fn the_example_of_the_guide_is_an_endpoint() {
    let examples = examples(&guide("publish-queries"), "yaml");
    let [(_, example)] = examples.as_slice() else { panic!("{} examples", examples.len()) };
    Endpoint::read("revenue.yaml", example).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_answers_as_duckdb_does_until_a_commit_says_otherwise() {
    let (mut world, _files) = world_of(&["2019-01"]).await;
    world.good(DAG, "computed", &json!({ "reference_date": "2019-01-05", "days": 3 }));
    world.run(&["dags", "unpause", "demand_forecast"]).done();
    world.good("demand_forecast", "foretold", &json!({ "reference_date": "2019-01-20" }));
    let (user, viewer) = (world.add_key("user", "serving").await, world.add_key("viewer", "serving").await);
    let endpoints = world.path().join("endpoints");
    std::fs::create_dir(&endpoints).unwrap();
    world.set("ORCH_ENDPOINTS_FOLDER", endpoints.to_str().unwrap());
    let (_, address) = world.start_server(&SERVER);

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut walk = Command::new(orch_test_support::data_python());
    walk.env("PYTHONPATH", root.join("../clients/python/src")).env_remove("ORCH_API_TOKEN");
    walk.arg(root.join("tests/dags/serving/walk.py")).args([format!("http://{address}"), user.clone()]);
    let files = ["taxi/taxi_zone_lookup.csv", "taxi/yellow_tripdata_sample_2019-01.csv.gz"];
    let said = walk.args(files.map(|file| data::folder().join(file))).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.ends_with("done\n"), "{out}\n{err}");

    trips_and_weather_are_as_duckdb_says(&mut world).await;
    files_are_endpoints_while_it_runs(&world, &endpoints, &address, &user);
    departments_are_golden(&world, &address, &user).await;
    answers_fit_the_description(&world, &address, &user);
    only_those_who_may(&world, &address, &user, &viewer).await;
    a_commit_ends_an_answer(&world, &address, &user).await;
    files_have_a_name_and_a_type(&address, &user);
}

/// Only the web server of a standalone can name the caller to the bundle, with its signature; no other client can.
#[test]
fn behind_the_web_server_only_its_signature_names_a_caller() {
    let standalone = Standalone::start();
    let address = standalone.url.strip_prefix("http://").unwrap();
    let login = json!({ "username": "admin", "password": PASSWORD }).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let (kind, length) = ("Content-Type: application/json", login.len());
    let head = format!("Host: {address}\r\nConnection: close\r\n{kind}\r\nContent-Length: {length}");
    let said = exchange(&mut stream, &format!("POST /auth/token HTTP/1.1\r\n{head}\r\n\r\n{login}"));
    let (_, token) = said.split_once("\"access_token\":\"").unwrap_or_else(|| panic!("{said}"));
    let bearer = format!("Authorization: Bearer {}", token.split('"').next().unwrap());
    let forged = ["x-orch-role: admin", "x-orch-user: admin", "x-orch-caller: admin"];
    for (path, named) in [("/serving/api/v1/nothing", 404), ("/catalog/v1/config", 200)] {
        until(path, || {
            let answer = ask(address, path, &[&bearer]);
            if answer.status == named { Ok(()) } else { Err(answer.body) }
        });
        assert_eq!(ask(address, path, &forged).status, 401, "{path}");
        let (_, inner) = path[1..].split_once('/').unwrap();
        let socket = format!("data/sockets/{}.sock", path[1..].split('/').next().unwrap());
        let mut stream = UnixStream::connect(standalone.home.path().join(socket)).unwrap();
        let head = [&["Host: orch", "Connection: close", bearer.as_str()][..], &forged].concat().join("\r\n");
        let said = exchange(&mut stream, &format!("GET /{inner} HTTP/1.1\r\n{head}\r\n\r\n"));
        assert!(said.starts_with("HTTP/1.1 401"), "{path}: {said}");
    }
    assert_eq!(json(&ask(address, "/serving/health", &[]))["status"], "healthy");
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// With one slot, a second concurrent query is rejected.
#[tokio::test(flavor = "multi_thread")]
async fn queries_beyond_the_slots_are_refused() {
    let mut world = World::new().await.at_work();
    world.run(&["dags", "unpause", weather::DAG]).done();
    world.good(weather::DAG, "zones", &json!({ "hours": 1 }));
    let key = world.add_key("viewer", "serving").await;
    for (path, sql) in [
        ("/zones", "select count(*) as n from reference.taxi_zones"),
        (
            "/endless",
            "with recursive ones as (select location_id from reference.taxi_zones where location_id = 1 \
             union all select location_id from ones) select count(*) as n from ones",
        ),
    ] {
        let columns = "columns: [{name: n, type: integer}]";
        let text = format!("path: {path}\nabout: A count\ntimeout_seconds: 300\nsql: {sql}\n{columns}\n");
        std::fs::write(world.path().join(format!("{}.endpoint.yaml", &path[1..])), text).unwrap();
    }
    world.set("ORCH_ENDPOINTS_FOLDER", world.path().to_str().unwrap().to_owned());
    world.set("ORCH_QUERY_SLOTS", "1");
    let (server, address) = world.start_server(&SERVER);
    until("the endpoints", || {
        let listed = get(&address, "/openapi.json", &key).body;
        if listed.contains("/zones\"") && listed.contains("/endless\"") { Ok(()) } else { Err(listed) }
    });
    std::thread::scope(|scope| {
        let endless = scope.spawn(|| get(&address, "/endless", &key));
        let process = until("the endless query", || match query_processes(server)[..] {
            [process] => Ok(process),
            ref others => Err(format!("{others:?}")),
        });
        let refused = get(&address, "/zones", &key);
        assert_eq!((refused.status, header(&refused, "retry-after")), (429, "1"), "{}", refused.body);
        kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL).unwrap();
        assert_eq!(endless.join().unwrap().status, 400);
    });
    assert_eq!(json(&get(&address, "/zones", &key))["data"], json!([{ "n": 265 }]));
}

/// A new file is an endpoint within a second, and a broken file keeps its last valid version.
fn files_are_endpoints_while_it_runs(world: &World, folder: &Path, address: &str, key: &str) {
    let (path, file) = ("/api/v1/mine/trips", folder.join("trips.endpoint.yaml"));
    let write = |table: &str| {
        let sql = format!("select count(*) as trips from {table}");
        let text = format!("path: {path}\nabout: All trips\nsql: {sql}\ncolumns: [{{name: trips, type: integer}}]\n");
        std::fs::write(&file, text).unwrap();
    };
    let answer = || get(address, path, key);
    let is = |status: u16| {
        until(&format!("{status} from {path}"), || {
            let answer = answer();
            if answer.status == status { Ok(answer) } else { Err(answer.body) }
        })
    };
    assert_eq!(answer().status, 404);
    write("nyc_taxi.trips");
    let trips = &json(&is(200))["data"][0]["trips"];
    assert!(trips.as_i64().unwrap() > 1_000, "{trips}");
    assert!(get(address, "/openapi.json", key).body.contains(path));
    write("trips");
    let errors = ["dags", "list-import-errors", "-o", "plain"];
    let told = world.wait_for("the import error", &errors, |ended| ended.out.contains("has no namespace"));
    assert!(told.out.contains("trips.endpoint.yaml"), "{told:?}");
    assert_eq!(json(&answer())["data"][0]["trips"], *trips);
    std::fs::remove_file(&file).unwrap();
    is(404);
    world.wait_for("no import error", &errors, |ended| !ended.out.contains("trips.endpoint.yaml"));
}

/// Queries on Postgres are not cached, and are read-only.
async fn departments_are_golden(world: &World, address: &str, key: &str) {
    let path = "/api/v1/shop/departments";
    let early = get(address, path, key);
    assert_eq!(early.status, 404, "{}", early.body);
    assert!(early.body.contains("does not exist in the database of `retail_postgres`"), "{}", early.body);
    let daily = data::text("golden/sales_by_department_daily.csv");
    let mut db = world.db().await;
    let table = "create schema retail; create table retail.sales_by_department_daily (date date, department_id bigint,
        department_name text, total_quantity bigint, total_revenue numeric(12, 2), orders bigint)";
    sqlx::raw_sql(table).execute(&mut db).await.unwrap();
    // The first session has not prepared the statement yet; the session below has.
    let broken = get(address, path, key);
    assert!(broken.status == 500 && !broken.body.contains("total_orders"), "{}", broken.body);
    sqlx::query("alter table retail.sales_by_department_daily rename orders to total_orders")
        .execute(&mut db)
        .await
        .unwrap();
    let mut copy =
        db.copy_in_raw("copy retail.sales_by_department_daily from stdin (format csv, header)").await.unwrap();
    copy.send(daily.as_bytes()).await.unwrap();
    copy.finish().await.unwrap();
    let all = get(address, &format!("{path}?format=csv"), key);
    let sold = |text: &str, columns: [usize; 3]| -> BTreeSet<Vec<String>> {
        let cells = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            let money: f64 = cells[columns[2]].parse().unwrap();
            vec![cells[columns[0]].to_owned(), cells[columns[1]].to_owned(), format!("{money:.2}")]
        };
        text.lines().skip(1).map(cells).collect()
    };
    assert_eq!(sold(&all.body, [0, 1, 3]), sold(&data::text("golden/sales_by_department.csv"), [1, 2, 3]));

    let one = format!("{path}?department=Fitness&start_date=2014-01-01&end_date=2014-01-31");
    let before = get(address, &one, key);
    let expected: (i64, f64) = sqlx::query_as("select sum(total_quantity)::bigint, sum(total_revenue)::float8
        from retail.sales_by_department_daily where department_name = 'Fitness' and date between '2014-01-01' and '2014-01-31'")
        .fetch_one(&mut db).await.unwrap();
    let row = &json(&before)["data"][0];
    assert_eq!((row["items"].as_i64().unwrap(), row["revenue"].as_f64().unwrap()), expected);
    assert_eq!(json(&get(address, &format!("{path}?department=%27%20or%20true%20--"), key))["data"], json!([]));
    let wrong = get(address, &format!("{path}?start_date=soon"), key);
    assert!(wrong.status == 422 && wrong.body.contains("start_date"), "{}", wrong.body);

    sqlx::query("update retail.sales_by_department_daily set total_quantity = 0").execute(&mut db).await.unwrap();
    assert_eq!(json(&get(address, &one, key))["data"][0]["items"], json!(0), "no answer is kept");
    sqlx::query("alter table retail.sales_by_department_daily rename total_orders to orders")
        .execute(&mut db)
        .await
        .unwrap();
    let broken = get(address, &one, key);
    assert!(broken.status == 500 && !broken.body.contains("total_orders"), "{}", broken.body);
    sqlx::query("alter table retail.sales_by_department_daily rename orders to total_orders")
        .execute(&mut db)
        .await
        .unwrap();
}

/// Generated requests cause no server error, and every response matches its description.
fn answers_fit_the_description(world: &World, address: &str, key: &str) {
    let mut command = Command::new(orch_test_support::venv("schemathesis", &[SCHEMATHESIS]).join("st"));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dags/serving/schemathesis.toml");
    command.current_dir(world.path()).arg("--config-file").arg(config).arg("run");
    command.arg(format!("http://{address}/openapi.json")).arg(format!("--header=X-API-Key: {key}"));
    let ended = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && out.contains("Test cases:"), "{out}\n{err}");
}

async fn only_those_who_may(world: &World, address: &str, user: &str, viewer: &str) {
    assert_eq!(json(&ask(address, "/health", &[]))["status"], "healthy");
    for open in ["/docs", "/openapi.json"] {
        assert_eq!(ask(address, open, &[]).status, 200, "{open}");
    }
    for path in [ZONES, "/api/v1/nothing"] {
        assert_eq!(ask(address, path, &[]).status, 401, "{path}");
        // Only the web server may set these headers, and this client is not the web server.
        assert_eq!(ask(address, path, &["x-orch-role: admin", "x-orch-caller: admin"]).status, 401, "{path}");
    }
    assert_eq!(ask(address, ZONES, &[&format!("Authorization: Bearer {viewer}")]).status, 200);
    let trips = "/api/v1/trips?start_date=2019-01-03&end_date=2019-01-05";
    assert_eq!((get(address, trips, viewer).status, get(address, trips, user).status), (403, 200));
    let mut db = world.db().await;
    // The change takes effect within a second.
    let disable = "update api_user set is_disabled = true where name = $1";
    sqlx::query(disable).bind(viewer).execute(&mut db).await.unwrap();
    sqlx::query("select pg_sleep(1.1)").execute(&mut db).await.unwrap();
    assert_eq!(get(address, ZONES, viewer).status, 401);
}

async fn a_commit_ends_an_answer(world: &World, address: &str, key: &str) {
    let before = get(address, STATS, key);
    let tag = header(&before, "etag").to_owned();
    let again = get(address, STATS, key);
    assert_eq!((header(&again, "etag"), &again.body), (tag.as_str(), &before.body));
    let unchanged = ask(address, STATS, &[&format!("X-API-Key: {key}"), &format!("If-None-Match: {tag}")]);
    assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""));
    let lake = world.lake();
    let trips = lake.table(&"nyc_taxi.trips".parse().unwrap()).await.unwrap();
    let gone = trips.delete(Filter::ge("pickup_datetime", "2019-01-05")).await.unwrap();
    gone.commit(&lake).await.unwrap();
    let after = ask(address, STATS, &[&format!("X-API-Key: {key}"), &format!("If-None-Match: {tag}")]);
    assert_eq!((after.status, &json(&after)["total_trips_today"]), (200, &json!(0)));
    assert!(json(&before)["total_trips_today"].as_i64().unwrap() > 100);
}

fn files_have_a_name_and_a_type(address: &str, key: &str) {
    let csv = get(address, &format!("{ZONES}&format=csv"), key);
    assert_eq!(header(&csv, "content-disposition"), "attachment; filename=\"zones.csv\"");
    assert!(
        csv.body.starts_with("zone_id,zone_name,borough,total_trips,") && csv.body.lines().count() == 4,
        "{}",
        csv.body
    );
    for (format, kind) in
        [("parquet", "application/vnd.apache.parquet"), ("arrow", "application/vnd.apache.arrow.stream")]
    {
        let file = get(address, &format!("{ZONES}&format={format}"), key);
        assert_eq!((file.status, header(&file, "content-type")), (200, kind));
    }
}
