//! Tests of dashboard files: accepted content, and the messages for mistakes.

use super::*;
use chrono::NaiveDate;
use serde_json::json;

const SHOP: &str = "title: The shop
dags: retail_medallion
filters:
  - {name: day, type: date, default_sql: select max(date) from gold.days}
  - {name: state, type: choice, choices: [CA, PR], default: CA, title: State}
  - {name: top, type: integer, minimum: 1, maximum: 50, default: 10}
panels:
  - {title: Orders, type: figure, sql: select count(*) from gold.orders, compare: the day before}
  - {title: Orders, type: lines, sql: select 1, lower: low, upper: high, unit: $, wide: true}
";

fn read(text: &str) -> Result<Dashboard, String> {
    Dashboard::read("folder/shop.dashboard.yaml", text.as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_dashboard_is_read_from_a_file_and_kept_as_data() {
    let shop = read(SHOP).expect("it is right");
    assert_eq!(
        (shop.name.as_str(), shop.role.as_str(), shop.dags.as_slice()),
        ("shop", "op", &["retail_medallion".to_owned()][..])
    );
    let ids: Vec<&str> = shop.panels.iter().map(|panel| panel.id.as_str()).collect();
    assert_eq!(ids, ["orders", "orders--2"], "of two with one title the second has a number");
    assert_eq!(shop.dags_of(&shop.panels[0]), ["retail_medallion"]);
    let kept = serde_json::to_value(&shop).expect("it is data");
    assert_eq!(serde_json::from_value::<Dashboard>(kept).expect("it is a dashboard"), shop);
}

#[test]
fn ten_lines_are_enough() {
    let text = "title: Rides\npanels:\n  - title: Rides by day\n    type: lines\n    sql: select day, rides from a.b order by 1\n";
    let rides = read(text).expect("it is right");
    assert_eq!((rides.filters.len(), rides.panels[0].look), (0, PanelType::Lines));
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_next_step() {
    for (from, to, words) in [
        (
            "title: The shop",
            "titel: The shop",
            ["unknown key `titel` in a dashboard", "shop.dashboard.yaml:1:1", "a dashboard has the keys `title`"],
        ),
        ("type: figure", "type: pie", ["`type` cannot be `pie`", ":8:27", "write one of `figure`, `lines`"]),
        ("type: date,", "type: day,", ["`type` cannot be `day`", ":4:23", "write one of `date`"]),
        ("default: CA", "default: TX", ["filter `state`: `TX` is not one of CA, PR", ":5:61", "a reader could choose"]),
        ("default: 10", "default: 99", ["99 is more than 50", ":6:", "hint"]),
        ("choices: [CA, PR], ", "", ["go together", ":5:", "`choices_sql`"]),
        ("name: top", "name: day", ["filter `day` is there twice", ":6:5", "another name"]),
        ("name: top", "name: t-p", ["it is no name", ":6:12", "`$name`"]),
        ("type: integer", "type: text", ["only whole numbers", ":6:", "leave them out"]),
        ("lower: low, ", "", ["panel `Orders`: `upper`", ":9:", "a band has two ends"]),
        ("unit: $", "compare: x", ["`compare` is not for `lines`", ":9:", "only a `figure`"]),
        ("dags:", "name: a b\ndags:", ["`a b` is no name", ":2:7", "letters, digits"]),
        (
            "select count(*) from gold.orders",
            "select count(*) from gold.orders where day >= $dya",
            [
                "panel `Orders`: there is no filter for the variable `$dya`",
                ":8:40",
                "the filters are `$day`, `$state`, `$top`: write one of them, or add a filter `dya`",
            ],
        ),
        (
            "sql: select 1",
            "sql: \"select $stat, '$x', $top -- $y\"",
            ["variable `$stat`", ":9:", "did you mean `$state`? The filters are `$day`, `$state`, `$top`"],
        ),
        (
            "from gold.days",
            "from gold.days where state = $state",
            ["filter `day`: `default_sql` has the variable `$state`", ":4:", "write the value itself"],
        ),
        ("panels:", "panels: []\nothers:", ["unknown key `others`", ":8:", "has the keys"]),
        (
            "title: The shop",
            "title: \"a\\0b\"",
            ["a text has a NUL character", "shop.dashboard.yaml:1:", "Postgres stores no NUL"],
        ),
        ("title: The shop", "title: [", ["not YAML", "shop.dashboard.yaml", "hint"]),
    ] {
        assert!(SHOP.contains(from), "{from}");
        let said = read(&SHOP.replacen(from, to, 1)).expect_err(to);
        assert!(words.iter().all(|word| said.contains(word)), "{to}: {words:?}: {said}");
    }
    let none = "title: Rides\npanels:\n  - {title: Rides, type: figure, sql: select $since}\n";
    assert!(read(none).unwrap_err().contains("the dashboard has no filters: add one under `filters`"));
    assert!(read(&format!("{SHOP}---\n{SHOP}")).unwrap_err().contains("2 documents"));
}

#[test]
fn values_of_the_address_are_read_by_their_types() {
    let shop = read(SHOP).expect("it is right");
    let [day, state, top] = shop.filters.as_slice() else { panic!("three filters") };
    let date = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date");
    assert_eq!(day.read("2026-11-20"), Ok(FilterValue::Date(date)));
    assert_eq!(day.read(""), Ok(FilterValue::Null));
    assert_eq!(state.read("PR"), Ok(FilterValue::Text("PR".into())));
    assert_eq!((top.read("7"), top.default_text().as_deref()), (Ok(FilterValue::Integer(7)), Some("10")));
    for (filter, text) in [(day, "2026-11-31"), (day, "1; drop"), (state, "CA' or 1=1 --"), (top, "0"), (top, "1e3")] {
        assert!(filter.read(text).is_err(), "{text}");
    }
    assert_eq!((state.label(), top.label()), ("State", "top"));
    let any: Filter = serde_json::from_value(json!({ "name": "city", "type": "text" })).expect("a filter");
    assert_eq!(any.read("' or 1=1 --"), Ok(FilterValue::Text("' or 1=1 --".into())), "a value, never SQL");
    assert!(any.read(&"x".repeat(1_001)).is_err());
}

#[test]
fn only_files_that_say_so_are_dashboards() {
    for (name, is_one) in [
        ("shop.dashboard.yaml", true),
        ("a/b.dashboard.yml", true),
        ("shop.dashboard.json", true),
        ("shop.yaml", false),
        (".dashboard.yaml", false),
        ("dashboard.yaml", false),
    ] {
        assert_eq!(is_dashboard_file(name), is_one, "{name}");
    }
}
