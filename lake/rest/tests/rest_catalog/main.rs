//! Tests of the REST catalog: which file paths clients may use, and which actions are recorded in the audit log.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod world;

use axum::http::StatusCode;
use iceberg::TableUpdate;
use orch_lake::bucket::Options;
use orch_lake::{Batches, Filter, TableDef};
use orch_lake_rest::{AssumedRole, GivenKeys};
use orch_test_lake::snapshot_naming;
use orch_test_support::Moto;
use serde_json::{Value, json};
use world::{TABLE, World, named, rows, schema};

/// Returns paths that are outside the warehouse, or could be interpreted as such.
fn hostile(world: &World) -> Vec<String> {
    let (warehouse, outside) = (world.warehouse(), world.outside());
    vec![
        format!("{outside}/secret.key"),
        format!("{warehouse}/../outside/secret.key"),
        format!("{warehouse}/%2e%2e/outside/secret.key"),
        format!("{warehouse}-evil/secret.key"),
        warehouse.trim_start_matches("file://").replace("/wh", "/outside/secret.key"),
        "file:/etc/passwd".into(),
        "s3://another/secret.key".into(),
    ]
}

fn update(update: &Value) -> Value {
    json!({ "requirements": [], "updates": [update] })
}

#[tokio::test]
async fn no_route_takes_a_path_outside_of_the_warehouse() {
    let world = World::new(GivenKeys::None).await;
    let lake = &world.lake;
    let table = lake.create(&named(TABLE), &schema()).await.unwrap();
    let other = lake.create(&named("retail.other"), &schema()).await.unwrap();
    let view = json!({ "name": "seen", "schema": world::view_schema(), "view-version": world::view_version(),
        "properties": {} });
    assert_eq!(world.send("POST", "/v1/namespaces/retail/views", "op", &view).await.0, StatusCode::OK);
    let add = TableUpdate::AddSnapshot { snapshot: snapshot_naming(&table, "unused").await };
    let snapshot = serde_json::to_value(add).unwrap()["snapshot"].clone();
    let before = world.outside_files();
    let paths = hostile(&world);
    let in_other = format!("{}/metadata/stats.puffin", other.metadata().location());
    for (index, path) in paths.iter().chain([&in_other]).enumerate() {
        let of_other = *path == in_other;
        let with = |field: &str| {
            let mut snapshot = snapshot.clone();
            snapshot[field] = json!(path);
            snapshot
        };
        let statistics = json!({ "snapshot-id": 1, "statistics-path": path, "file-size-in-bytes": 1,
            "file-footer-size-in-bytes": 1, "blob-metadata": [] });
        let partitions = json!({ "snapshot-id": 1, "statistics-path": path, "file-size-in-bytes": 1 });
        let mut requests = vec![
            update(&json!({ "action": "set-statistics", "statistics": statistics })),
            update(&json!({ "action": "set-partition-statistics", "partition-statistics": partitions })),
            update(&json!({ "action": "add-snapshot", "snapshot": with("manifest-list") })),
        ];
        for property in
            ["write.metadata.path", "write.data.path", "write.object-storage.path", "write.folder-storage.path"]
        {
            requests.push(update(&json!({ "action": "set-properties", "updates": { property: path } })));
        }
        if !of_other {
            requests.push(update(&json!({ "action": "set-location", "location": path })));
        }
        for request in &requests {
            let (status, answer) = world.send("POST", "/v1/namespaces/retail/tables/orders", "op", request).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{request} {answer}");
            assert!(answer.to_string().contains("is outside of"), "{answer}");
            let mut change = request.clone();
            change["identifier"] = json!({ "namespace": ["retail"], "name": "orders" });
            let transaction = json!({ "table-changes": [change] });
            let (status, answer) = world.send("POST", "/v1/transactions/commit", "op", &transaction).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{request} {answer}");
        }
        let new = |location: Option<&str>, property: Option<&str>| {
            let properties = property.map_or(json!({}), |property| json!({ property: path }));
            json!({ "name": format!("new_{index}"), "location": location, "schema": world::view_schema(),
                "view-version": world::view_version(), "properties": properties })
        };
        let mut creations = vec![("tables", new(None, Some("write.data.path")))];
        if !of_other {
            creations.push(("tables", new(Some(path), None)));
            creations.push(("views", new(Some(path), None)));
            creations.push(("views", new(None, Some("write.metadata.path"))));
            creations.push(("register", json!({ "name": format!("new_{index}"), "metadata-location": path })));
            creations.push(("register-view", json!({ "name": format!("new_{index}"), "metadata-location": path })));
        }
        for (route, body) in creations {
            for staged in [false, true] {
                let mut body = body.clone();
                body["stage-create"] = json!(staged);
                let (status, answer) = world.send("POST", &format!("/v1/namespaces/retail/{route}"), "op", &body).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{route} {body} {answer}");
            }
        }
        if of_other {
            continue;
        }
        for change in [
            json!({ "action": "set-location", "location": path }),
            json!({ "action": "set-properties", "updates": { "write.metadata.path": path } }),
        ] {
            let (status, answer) = world.send("POST", "/v1/namespaces/retail/views/seen", "op", &update(&change)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{change} {answer}");
        }
    }
    assert_eq!(world.outside_files(), before);
    assert_eq!(lake.table(table.name()).await.unwrap().metadata_location(), table.metadata_location());
    // A folder in the warehouse that contains other tables is rejected as a location.
    let whole = update(&json!({ "action": "set-location", "location": format!("{}/retail", world.warehouse()) }));
    assert_eq!(
        world.send("POST", "/v1/namespaces/retail/tables/orders", "op", &whole).await.0,
        StatusCode::BAD_REQUEST
    );
    let spelled = whole.to_string().replace("file:///", "file:/").parse().unwrap();
    assert_eq!(
        world.send("POST", "/v1/namespaces/retail/tables/orders", "op", &spelled).await.0,
        StatusCode::BAD_REQUEST
    );
    // Paths below the table's own location are allowed.
    let own = update(&json!({ "action": "set-properties",
        "updates": { "write.data.path": format!("{}/elsewhere", table.metadata().location()) } }));
    assert_eq!(world.send("POST", "/v1/namespaces/retail/tables/orders", "op", &own).await.0, StatusCode::OK);
    let table = lake.table(table.name()).await.unwrap();
    let written = table.append(Batches::from(rows(1))).await.unwrap().commit(lake).await.unwrap().table;
    assert_eq!(written.count().await.unwrap(), 1);
    assert_eq!(written.scan().collect().await.unwrap()[0].num_rows(), 1);
}

/// Postgres cannot store NUL, and names must fit their column.
#[tokio::test]
async fn a_value_that_the_database_cannot_store_is_an_error_of_the_client() {
    let world = World::new(GivenKeys::None).await;
    world.lake.create(&named(TABLE), &schema()).await.unwrap();
    let long = "n".repeat(3_000);
    for value in ["a\0b", &long] {
        for (method, path, body) in [
            ("POST", "/v1/namespaces", json!({ "namespace": [value] })),
            ("POST", "/v1/namespaces", json!({ "namespace": ["new"], "properties": { value: "a\0" } })),
            ("POST", "/v1/namespaces/retail/properties", json!({ "updates": { value: "a\0" } })),
            ("GET", "/v1/namespaces/a%00b", Value::Null),
            ("DELETE", "/v1/namespaces/a%00b", Value::Null),
            ("GET", "/v1/namespaces?parent=a%00b", Value::Null),
            ("GET", "/v1/namespaces/retail/tables?pageToken=a%00b", Value::Null),
        ] {
            let (status, answer) = world.send(method, path, "op", &body).await;
            assert!(status.is_client_error(), "{method} {path} {body}: {status} {answer}");
        }
    }
}

#[tokio::test]
async fn an_error_does_not_repeat_a_long_body() {
    let world = World::new(GivenKeys::None).await;
    let long = json!({ "namespace": "n".repeat(1 << 20) });
    let (status, answer) = world.send("POST", "/v1/namespaces", "op", &long).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("the body cannot be read: invalid type: string") && message.len() < 1_000);
}

/// The metadata file of a table to be registered can contain hostile paths, too.
#[tokio::test]
async fn files_elsewhere_are_registered_by_admins_only() {
    let world = World::new(GivenKeys::None).await;
    let foreign = world.lake_at(&world.outside(), "foreign");
    let table = foreign.create(&named("retail.far"), &schema()).await.unwrap();
    let table = table.append(Batches::from(rows(7))).await.unwrap().commit(&foreign).await.unwrap().table;
    let register = async |role: &str, name: &str, location: &str| {
        let body = json!({ "name": name, "metadata-location": location });
        world.send("POST", "/v1/namespaces/retail/register", role, &body).await
    };
    world.send("POST", "/v1/namespaces", "op", &json!({ "namespace": ["retail"] })).await;
    assert_eq!(register("op", "far", table.metadata_location()).await.0, StatusCode::FORBIDDEN);
    // Copies the metadata to a file in the warehouse. Only the table location in the second one is outside.
    let empty = foreign.create(&named("retail.empty"), &schema()).await.unwrap();
    let folder = format!("{}/retail/far/metadata", world.warehouse());
    std::fs::create_dir_all(folder.trim_start_matches("file://")).unwrap();
    for (name, metadata) in [("00001-full", table.metadata()), ("00001-empty", empty.metadata())] {
        let inside = format!("{folder}/{name}.metadata.json");
        std::fs::write(inside.trim_start_matches("file://"), serde_json::to_vec(metadata).unwrap()).unwrap();
        let (status, answer) = register("op", "far", &inside).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{name} {answer}");
    }
    foreign.purge(empty.name()).await.unwrap();

    assert_eq!(register("admin", "far", table.metadata_location()).await.0, StatusCode::OK);
    let registered = world.lake.table(&named("retail.far")).await.unwrap();
    assert_eq!(registered.scan().collect().await.unwrap()[0].num_rows(), 7);
    let audited = world.audited("register_table").await;
    assert_eq!(audited.len(), 1);
    assert_eq!(audited[0]["outside"][0], json!(table.metadata_location()));
    // A registered table is an ordinary table: it is written at its location, and a purge deletes only its own files.
    let kept = world.outside_files();
    let change = registered.append(Batches::from(rows(1))).await.unwrap();
    let written = change.commit(&world.lake).await.unwrap().table;
    assert!(written.metadata_location().starts_with(&world.outside()));
    assert!(world.outside_files().len() > kept.len());
    let purged = world.send("DELETE", "/v1/namespaces/retail/tables/far?purgeRequested=true", "op", &Value::Null).await;
    assert_eq!(purged.0, StatusCode::NO_CONTENT);
    let left: Vec<String> = world.outside_files().into_iter().filter(|file| file.contains("/retail/")).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// Clients write manifests themselves, so a manifest can refer to any file.
#[tokio::test]
async fn a_file_outside_is_neither_read_nor_purged() {
    let world = World::new(GivenKeys::None).await;
    let foreign = world.lake_at(&world.outside(), "foreign");
    let far = foreign.create(&named("retail.far"), &schema()).await.unwrap();
    let far = far.append(Batches::from(rows(3))).await.unwrap().commit(&foreign).await.unwrap().table;
    let parquet = far.files(&orch_lake::table::At::Now).await.unwrap().files[0].file.path().to_owned();
    for (name, path) in [("parquet", parquet.clone()), ("key", format!("{}/secret.key", world.outside()))] {
        let table = world.lake.create(&named(&format!("retail.{name}")), &schema()).await.unwrap();
        let snapshot = snapshot_naming(&table, &path).await;
        let reference = json!({ "action": "set-snapshot-ref", "ref-name": "main", "type": "branch",
            "snapshot-id": snapshot.snapshot_id() });
        let add = serde_json::to_value(TableUpdate::AddSnapshot { snapshot }).unwrap();
        let commit = json!({ "requirements": [], "updates": [add, reference] });
        let (status, answer) = world.send("POST", &format!("/v1/namespaces/retail/tables/{name}"), "op", &commit).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let table = world.lake.table(table.name()).await.unwrap();
        let refused = table.scan().collect().await.unwrap_err().to_string();
        assert!(refused.contains(&path) && refused.contains(&format!("retail.{name}")), "{refused}");
        let refused = table.delete(Filter::All).await.unwrap_err().to_string();
        assert!(refused.contains(&path), "{refused}");
        let own = World::files_of(table.metadata().location());
        assert!(!own.is_empty());
        let purge = format!("/v1/namespaces/retail/tables/{name}?purgeRequested=true");
        let purged = world.send("DELETE", &purge, "op", &Value::Null).await;
        assert_eq!(purged.0, StatusCode::NO_CONTENT);
        assert_eq!(World::files_of(table.metadata().location()), Vec::<String>::new());
        assert!(std::fs::exists(path.trim_start_matches("file://")).unwrap(), "{path}");
    }
    assert_eq!(far.scan().collect().await.unwrap()[0].num_rows(), 3);
}

#[tokio::test]
async fn a_failed_register_leaves_the_table_that_it_was_to_replace() {
    let world = World::new(GivenKeys::None).await;
    let first = world.lake.create(&named(TABLE), &schema()).await.unwrap();
    let second = first.append(Batches::from(rows(5))).await.unwrap().commit(&world.lake).await.unwrap().table;
    let register = async |location: &str| {
        let body = json!({ "name": "orders", "metadata-location": location, "overwrite": true });
        world.send("POST", "/v1/namespaces/retail/register", "op", &body).await
    };
    let missing = format!("{}/retail/orders/metadata/00009-missing.metadata.json", world.warehouse());
    assert!(!register(&missing).await.0.is_success());
    assert_eq!(world.lake.table(&named(TABLE)).await.unwrap().count().await.unwrap(), 5);
    assert_eq!(register(first.metadata_location()).await.0, StatusCode::OK);
    assert_eq!(world.lake.table(&named(TABLE)).await.unwrap().count().await.unwrap(), 0);
    assert_eq!(world.audited("register_table").await[0]["replaced"], json!(second.metadata_location()));
}

#[tokio::test]
async fn changes_of_the_catalog_are_in_the_audit_log() {
    let world = World::new(GivenKeys::None).await;
    let send = async |method: &str, path: &str, body: Value| {
        let (status, answer) = world.send(method, path, "op", &body).await;
        assert!(status.is_success(), "{method} {path} {answer}");
    };
    let table = |name: &str| json!({ "name": name, "schema": world::view_schema() });
    let view = json!({ "name": "seen", "schema": world::view_schema(), "view-version": world::view_version(),
        "properties": {} });
    let rename = |from: &str, to: &str| {
        let name = |name: &str| json!({ "namespace": ["shop"], "name": name });
        json!({ "source": name(from), "destination": name(to) })
    };
    send("POST", "/v1/namespaces", json!({ "namespace": ["shop"] })).await;
    send("POST", "/v1/namespaces/shop/properties", json!({ "updates": { "owner": "ann" } })).await;
    send("POST", "/v1/namespaces/shop/tables", table("one")).await;
    let set = update(&json!({ "action": "set-properties", "updates": { "owner": "ann" } }));
    send("POST", "/v1/namespaces/shop/tables/one", set).await;
    send("POST", "/v1/tables/rename", rename("one", "two")).await;
    send("DELETE", "/v1/namespaces/shop/tables/two", Value::Null).await;
    send("POST", "/v1/namespaces/shop/tables", table("three")).await;
    send("DELETE", "/v1/namespaces/shop/tables/three?purgeRequested=True", Value::Null).await;
    send("POST", "/v1/namespaces/shop/views", view).await;
    send(
        "POST",
        "/v1/namespaces/shop/views/seen",
        update(&json!({ "action": "set-properties", "updates": { "a": "b" } })),
    )
    .await;
    send("POST", "/v1/views/rename", rename("seen", "gone")).await;
    send("DELETE", "/v1/namespaces/shop/views/gone", Value::Null).await;
    send("DELETE", "/v1/namespaces/shop", Value::Null).await;
    // Reads and rejected changes are not audited.
    world.send("GET", "/v1/namespaces", "viewer", &Value::Null).await;
    world.send("POST", "/v1/namespaces", "viewer", &json!({ "namespace": ["mine"] })).await;
    let expected = [
        ("create_namespace", "shop"),
        ("alter_namespace", "shop"),
        ("create_table", "shop.one"),
        ("alter_table", "shop.one"),
        ("rename_table", "shop.one"),
        ("drop_table", "shop.two"),
        ("create_table", "shop.three"),
        ("purge_table", "shop.three"),
        ("create_view", "shop.seen"),
        ("alter_view", "shop.seen"),
        ("rename_view", "shop.seen"),
        ("drop_view", "shop.gone"),
        ("drop_namespace", "shop"),
    ];
    let entries = world.all_audited().await;
    let found: Vec<(&str, &str)> = entries
        .iter()
        .map(|(_, event, extra)| {
            let of = ["table", "view", "namespace"].into_iter().find_map(|kind| extra[kind].as_str());
            (event.as_str(), of.unwrap_or_default())
        })
        .collect();
    assert_eq!(found, expected);
    for (actor, event, extra) in &entries {
        assert_eq!((actor.as_str(), extra["role"].as_str()), ("ann op", Some("op")), "{event}");
        assert_eq!(extra["client"], "a client", "{event}");
    }
}

/// A real STS server issues temporary credentials for one table. The credentials of orch itself are never returned.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_table_end_after_an_hour() {
    let moto = Moto::start("lakehouse");
    let storage = Options {
        endpoint: Some(moto.endpoint()),
        access_key: Some("orch-key".into()),
        secret_key: Some("orch-secret".into()),
        ..Options::default()
    };
    let role = AssumedRole { arn: "arn:aws:iam::123456789012:role/lake".into(), endpoint: None };
    let world = World::with(GivenKeys::OfTable(role), "s3://lakehouse/wh", storage).await;
    world.lake.create(&named(TABLE), &TableDef::new().required("id", world::LONG)).await.unwrap();
    let path = "/v1/namespaces/retail/tables/orders";
    let delegated = [("x-iceberg-access-delegation", "vended-credentials")];
    let config = async |role: &str| {
        let (status, answer) = world.send_with("GET", path, role, &Value::Null, &delegated).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["config"].clone()
    };
    assert_eq!(config("viewer").await["s3.secret-access-key"], Value::Null);
    assert!(world.audited("give_storage_keys").await.is_empty());
    let config = config("op").await;
    let text = |key: &str| config[key].as_str().unwrap_or_else(|| panic!("no {key}: {config}")).to_owned();
    let (key, token) = (text("s3.access-key-id"), text("s3.session-token"));
    assert!(key.starts_with("ASIA") && !token.is_empty() && !config.to_string().contains("orch-secret"), "{config}");
    let left = text("s3.session-token-expires-at-ms").parse::<i64>().unwrap()
        - world.lake.now().await.unwrap().timestamp_millis();
    assert!((3_500_000..=3_610_000).contains(&left), "{left} ms are left");
    let audited = world.audited("give_storage_keys").await;
    assert_eq!((audited.len(), audited[0]["access_key"].as_str()), (1, Some(key.as_str())));
    assert!(!audited[0].to_string().contains(&text("s3.secret-access-key")));
    let (_, answer) = world.send("GET", &format!("{path}/credentials"), "op", &Value::Null).await;
    assert_eq!(answer["storage-credentials"][0]["prefix"], json!("s3://lakehouse/wh/retail/orders"));
    assert_eq!(world.audited("give_storage_keys").await.len(), 2);
}

#[tokio::test]
async fn nul_and_control_characters_are_bad_requests() {
    let world = World::new(GivenKeys::None).await;
    let good = json!({ "namespace": ["retail"], "properties": { "path": r"C:\u0000" } });
    assert_eq!(world.send("POST", "/v1/namespaces", "op", &good).await.0, StatusCode::OK, "a backslash before `u0000`");
    let schema = json!({ "type": "struct", "fields": [] });
    let none = Value::Null;
    for (method, path, body) in [
        ("POST", "/v1/namespaces", json!({ "namespace": ["a\0b"] })),
        ("POST", "/v1/namespaces", json!({ "namespace": ["a", "b\n"] })),
        ("POST", "/v1/namespaces", json!({ "namespace": ["b"], "properties": { "owner": "a\0" } })),
        ("POST", "/v1/namespaces", json!({ "namespace": ["b"], "properties": { "a\0": "ann" } })),
        ("POST", "/v1/namespaces/retail/properties", json!({ "removals": ["a\0"] })),
        ("POST", "/v1/namespaces/retail/tables", json!({ "name": "a\0", "schema": schema })),
        ("GET", "/v1/namespaces/a%00b", none.clone()),
        ("HEAD", "/v1/namespaces/a%0Ab", none.clone()),
        ("DELETE", "/v1/namespaces/a%00b", none.clone()),
        ("GET", "/v1/namespaces?parent=a%00", none.clone()),
        ("GET", "/v1/namespaces/a%00/tables", none.clone()),
        ("GET", "/v1/namespaces/retail/tables?pageToken=a%00", none.clone()),
        ("GET", "/v1/namespaces/retail/tables/a%00", none.clone()),
        ("GET", "/v1/namespaces/retail/views/a%0D", none.clone()),
    ] {
        let (status, answer) = world.send(method, path, "op", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {path} {body} {answer}");
    }
}
