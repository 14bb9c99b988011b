//! Rules for every resource and list: fields are columns, and sorting and filters match the table definitions.

use crate::fake_lake::FakeLake;
use crate::fixture::Web;
use orch_deeds::NOUNS;
use serde_json::Value;

/// Lists whose path accepts no `~`.
const OF_ONE: [&str; 4] = ["/xcomEntries", "/listMapped", "/assets/{asset_id}/", "/tasks"];

#[tokio::test]
async fn every_order_and_filter_of_every_list_is_taken_and_others_are_refused() {
    let mut web = Web::new().await;
    web.restart(|config| config.lake = FakeLake::door("CO"));
    let described = web.get("/openapi.json").await.body;
    let mut lists = 0;
    for (path, route) in described["paths"].as_object().unwrap() {
        let Some(parameters) = route["get"]["parameters"].as_array() else { continue };
        let is_sorted = parameters.iter().any(|parameter| parameter["name"] == "order_by");
        if !is_sorted || OF_ONE.iter().any(|part| path.contains(part)) {
            continue;
        }
        lists += 1;
        let dag_id = if path.ends_with("/presets") { "params" } else { "~" };
        let address = path.replace("{dag_id}", dag_id).replace("{dag_run_id}", "~");
        let is_asked = |parameter: &&Value| parameter["in"] == "query";
        let must = parameters.iter().filter(is_asked).filter(|parameter| parameter["required"] == true);
        let must =
            must.map(|parameter| format!("{}=a&", parameter["name"].as_str().unwrap())).collect::<Vec<_>>().concat();
        for parameter in parameters.iter().filter(is_asked) {
            let name = parameter["name"].as_str().unwrap();
            for value in values(&parameter["schema"]) {
                let query = format!("{address}?{must}{name}={value}");
                let answer = web.get(&query).await;
                assert_eq!(answer.status.as_u16(), 200, "{query}: {}", answer.body);
                assert!(answer.body["total_entries"].is_number(), "{query}: {}", answer.body);
            }
        }
        assert_eq!(web.get(&format!("{address}?{must}order_by=odd")).await.status.as_u16(), 400, "{address}");
        assert_eq!(web.get(&format!("{address}?{must}odd=1")).await.status.as_u16(), 422, "{address}");
    }
    assert!(lists > 15, "{lists} lists were found");
}

/// Returns values that match a schema: all values of an enum, otherwise some.
fn values(schema: &Value) -> Vec<String> {
    let schema = if schema["type"] == "array" { &schema["items"] } else { schema };
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| word.as_str().unwrap().replace(' ', "%20")).collect();
    }
    let value = match schema["type"].as_str() {
        Some("integer") => "1",
        Some("number") => "0.5",
        Some("boolean") => "true",
        Some(_) => "a%7Cb",
        None => "2026-11-20T00:00:00Z",
    };
    vec![value.to_string()]
}

#[tokio::test]
async fn every_field_that_is_sent_is_a_column_of_its_table() {
    let web = Web::new().await;
    let described = web.get("/openapi.json").await.body;
    for noun in NOUNS {
        let table = noun.one.to_lowercase();
        let sql = "select column_name::text from information_schema.columns where table_name = $1";
        let columns: Vec<String> = sqlx::query_scalar(sql).bind(&table).fetch_all(&mut web.db().await).await.unwrap();
        let sent = noun.mask().into_iter().map(|name| noun.fields.iter().find(|field| field.name == name).unwrap());
        for field in sent.chain([noun.name()]) {
            assert!(
                columns.iter().any(|column| column == field.column),
                "{table}.{} is not in {columns:?}",
                field.column
            );
        }
        let schemas = &described["components"]["schemas"];
        let view = schemas[format!("{}View", noun.one)]["properties"].as_object().map(serde_json::Map::len);
        assert_eq!(view, Some(noun.fields.len()), "the answer of {table} has every field");
        assert_ne!(schemas[format!("{}Body", noun.one)], Value::Null);
    }
}
