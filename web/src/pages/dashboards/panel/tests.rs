//! Tests of the conversion from rows to figures, series, ranked lists, maps and tables.

use super::*;
use orch_store::lake_view::ScanProgress;
use serde_json::{Value, json};

fn answer(columns: &[(&str, &str)], rows: Value) -> QueryAnswer {
    let column = |(name, data_type): &(&str, &str)| ResultColumn {
        name: (*name).into(),
        data_type: (*data_type).into(),
        is_number: ["bigint", "double", "decimal"].contains(data_type),
    };
    let rows = serde_json::from_value(rows).expect("a list of rows");
    QueryAnswer {
        columns: columns.iter().map(column).collect(),
        rows,
        more: false,
        duration_ms: 1.0,
        seen: ScanProgress::default(),
    }
}

fn panel(said: &Value) -> Panel {
    let mut panel = json!({ "title": "T", "type": "figure", "sql": "select 1" });
    panel.as_object_mut().expect("it is one").extend(said.as_object().expect("it is one").clone());
    serde_json::from_value(panel).expect("a panel")
}

#[test]
fn a_figure_is_said_beside_another() {
    let columns = [("value", "decimal"), ("before", "decimal")];
    for (said, row, value, unit, beside) in [
        (
            json!({ "unit": "$", "compare": "the day before" }),
            json!(["1234.6", "1000"]),
            "$1,235",
            "",
            "23.5 % more than the day before ($1,000)",
        ),
        (json!({ "unit": "trips" }), json!([80, 100]), "80", "trips", "20 % less than before (100 trips)"),
        (json!({}), json!([5, 5]), "5", "", "as before (5)"),
        (json!({ "compare": "last week" }), json!([5, 0]), "5", "", "0 last week"),
        (json!({ "unit": "$" }), json!([null, 3]), "–", "", ""),
        (json!({}), json!([7]), "7", "", ""),
    ] {
        let found = figure(&panel(&said), &answer(&columns, json!([row])));
        assert_eq!((found.value.as_str(), found.unit.as_str(), found.beside.as_str()), (value, unit, beside));
    }
    let text = figure(&panel(&json!({ "unit": "x" })), &answer(&[("weather", "varchar")], json!([["rain"]])));
    assert_eq!((text.value.as_str(), text.unit.as_str()), ("rain", ""));
}

#[test]
fn columns_are_series_and_so_are_the_values_of_a_column() {
    let columns =
        [("hour", "timestamp"), ("real", "bigint"), ("expected", "double"), ("low", "double"), ("high", "double")];
    let rows = json!([["2026-11-20 01:00:00", 3, null, null, null], ["2026-11-20 02:00:00", null, 4.0, 3.0, 5.5]]);
    let lines = panel(&json!({ "type": "lines", "lower": "low", "upper": "high" }));
    let (words, series) = series_of_columns(&lines, &answer(&columns, rows.clone()));
    assert_eq!(words.len(), 2);
    assert_eq!(series[0], Series { name: "real".into(), values: vec![Some(3.0), None], band: Vec::new() });
    assert_eq!(series[1].band, [None, Some((3.0, 5.5))]);
    let found = drawn(&lines, &answer(&columns, rows));
    assert_eq!((found.legend.len(), found.legend[1].1.as_str()), (2, "expected, with its band"));
    let columns = [("hour", "timestamp"), ("city", "varchar"), ("temp", "double")];
    let rows = json!([["a", "Oslo", 1.0], ["a", "Rome", 2.0], ["b", "Rome", 3.0], ["c", "Oslo", 4.0]]);
    let (words, series) = series_by(&panel(&json!({ "type": "lines", "series": "city" })), &answer(&columns, rows), 1);
    assert_eq!(words, ["a", "b", "c"]);
    assert_eq!(series[0].values, [Some(1.0), None, Some(4.0)]);
    assert_eq!(series[1].values, [Some(2.0), Some(3.0), None]);
}

#[test]
fn bars_of_words_are_a_table_and_bars_of_days_a_picture() {
    let bars = panel(&json!({ "type": "bars", "unit": "$" }));
    let words =
        drawn(&bars, &answer(&[("zone", "varchar"), ("revenue", "double")], json!([["Midtown", 20.0], ["<b>", 5.0]])));
    let said: Vec<_> = words.ranks.iter().map(|rank| (rank.word.as_str(), rank.value.as_str())).collect();
    assert_eq!(said, [("Midtown", "$20"), ("<b>", "$5")]);
    assert!(words.picture.is_none() && words.ranks[1].meter.to_string().contains("25.00%"));
    let days = drawn(&bars, &answer(&[("day", "date"), ("revenue", "double")], json!([["2026-11-20", 20.0]])));
    assert!(days.ranks.is_empty() && days.picture.is_some() && days.legend.is_empty());
}

#[test]
fn a_map_says_what_it_needs_and_its_table_has_no_outlines() {
    let map = panel(&json!({ "type": "map" }));
    let columns = [("id", "bigint"), ("zone", "varchar"), ("trips", "bigint"), ("outline", "varchar")];
    let square = r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}"#;
    let found = drawn(&map, &answer(&columns, json!([[1, "A", 7, square], [2, "B", null, null]])));
    let picture = found.picture.expect("one zone has an outline").to_string();
    assert!(picture.contains("<title>A: 7</title>") && !picture.contains(">B: "), "{picture}");
    assert_eq!(found.table.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["id", "zone", "trips"]);
    assert_eq!(found.table.rows[1], ["2", "B", ""]);
    let none = drawn(&map, &answer(&columns[..3], json!([[1, "A", 7]])));
    assert!(none.picture.is_none() && none.problem.is_some_and(|words| words.contains("`outline`")));
}
