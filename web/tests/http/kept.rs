//! What holds for every noun: its fields are columns, its lists are sorted and filtered by what its table says.

use crate::fixture::Web;
use orch_deeds::NOUNS;
use serde_json::Value;

#[tokio::test]
async fn every_order_and_filter_of_a_noun_is_taken_and_others_are_refused() {
    let web = Web::new().await;
    for noun in NOUNS {
        let orders = noun.orders.iter().flat_map(|(word, _)| [format!("order_by={word}"), format!("order_by=-{word}")]);
        let key = noun.path_key;
        let filters = [format!("{key}_pattern=a"), format!("{key}_prefix_pattern=a|b")];
        for query in orders.chain(filters) {
            let answer = web.get(&format!("{}?{query}", noun.path)).await;
            assert_eq!(answer.status.as_u16(), 200, "{} {query}: {}", noun.path, answer.body);
            assert!(answer.body[noun.many].is_array(), "{}", answer.body);
        }
        assert_eq!(web.get(&format!("{}?order_by=odd", noun.path)).await.status.as_u16(), 400);
    }
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
