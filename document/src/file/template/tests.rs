//! Tests of rendered values and rejected templates.

use super::*;
use serde_json::json;

fn names() -> Names {
    Names {
        run: json!({ "run_id": "r1", "logical_date": "2025-01-31T23:30:00+00:00" }),
        params: json!({ "table": "Orders", "limit": 3, "tags": ["a", "b"], "deep": { "x-y": [1, 2] } }),
        upstream: json!({ "silver.read": { "rows": 7 } }).as_object().expect("an object").clone(),
        element: Some(json!(["u", 2])),
        map_index: Some(4),
        variables: json!({ "region": "eu", "cfg": "{\"a\": {\"b\": 5}}" }).as_object().expect("an object").clone(),
        ..Names::default()
    }
}

fn check(text: &str, expected: Value) {
    assert_eq!(render(&json!(text), &names()), Ok(expected), "{text}");
}

#[test]
fn a_lone_template_keeps_its_type_and_others_are_text() {
    check("{{ params.limit }}", json!(3));
    check("{{params.tags}}", json!(["a", "b"]));
    check("n={{ params.limit }}, {{ params.tags }}", json!("n=3, [\"a\",\"b\"]"));
    check("plain", json!("plain"));
    check("{{ \"{{\" }}", json!("{{"));
}

#[test]
fn paths_lead_into_objects_and_lists() {
    check("{{ params.deep.x-y[1] }}", json!(2));
    check("{{ params['deep'][\"x-y\"].0 }}", json!(1));
    check("{{ upstream.silver.read.output.rows }}", json!(7));
    check("{{ element.0 }}{{ element[1] }}{{ map_index }}", json!("u24"));
    check("{{ var.region }}/{{ var.value.region }}/{{ var.json.cfg.a.b }}", json!("eu/eu/5"));
}

#[test]
fn filters_do_what_their_words_say() {
    check("{{ run.logical_date | ds }}", json!("2025-01-31"));
    check("{{ run.logical_date | ds_nodash }}", json!("20250131"));
    check("{{ run.logical_date | tz('Europe/Berlin') | ds }}", json!("2025-02-01"));
    check("{{ run.logical_date | add_days(1) | format('%Y/%m') }}", json!("2025/02"));
    check("{{ run.logical_date | add_hours(-1) | ts }}", json!("2025-01-31T22:30:00+00:00"));
    check("{{ params.none | default('x') }}", json!("x"));
    check("{{ params.none.deeper | default(null) }}", json!(null));
    check("{{ params.table | lower }}{{ params.table | upper }}", json!("ordersORDERS"));
    check("{{ params.tags | join('+') | split('+') | last }}", json!("b"));
    check("{{ params.tags | length }}{{ params.tags | first }}", json!("2a"));
    check("{{ '12' | int }}", json!(12));
    check("{{ params | json | from_json | length }}", json!(4));
    check("{{ ' a ' | trim | replace('a', 'b') }}", json!("b"));
}

#[test]
fn what_would_fill_the_memory_is_an_error() {
    let big = "x".repeat(1 << 20);
    let names = Names { params: json!({ "big": big, "many": vec![1; 100_000] }), ..names() };
    let grown = "a".repeat(1_000);
    for text in [
        format!("{{{{ 'a'{} }}}}", format!(" | replace('a', '{grown}')").repeat(9)),
        format!("{{{{ params.big | replace('', '{grown}') }}}}"),
        format!("{{{{ params.many | join('{grown}') }}}}"),
        format!("{{{{ '\"'{} }}}}", " | json".repeat(40)),
        "{{ params.big | split('') }}".into(),
        "{{ params.big }}.".repeat(50),
    ] {
        let refused = render(&json!(text), &names).expect_err("it is too long");
        assert!(refused.contains("more than 8388608 bytes"), "{refused}");
    }
    let many = vec!["{{ params.big }}"; 50];
    assert!(render(&json!(many), &names).is_err(), "together they count too");
    assert!(render(&json!(many[..5]), &names).is_ok());
}

#[test]
fn what_is_not_there_is_an_error() {
    for text in ["{{ params.nothing }}", "a{{ null }}", "{{ run.run_id | ds }}", "{{ params.table | first }}"] {
        assert!(render(&json!(text), &names()).is_err(), "{text}");
    }
}

#[test]
fn what_is_no_template_is_told() {
    for (text, words) in [
        ("{{ params.x", "a template ends where"),
        ("{{ }}", "`}}`"),
        ("{{ params.x | uper }}", "no filter `uper`"),
        ("{{ params.x | default }}", "0 values"),
        ("{{ __import__('os') }}", "`('os') }}`"),
        ("{{ 1 + 1 }}", "`+ 1 }}`"),
        ("{% if x %}", "no statements"),
        ("{{ 'a }}", "does not end"),
        ("{{ run.logical_date | format('%Q!') }}", "no form of a date"),
        ("{{ run.logical_date | tz('Berlin') }}", "Berlin"),
    ] {
        let problem = Template::parse(text).expect_err(text);
        assert!(problem.message.contains(words), "{text}: {problem}");
    }
}

#[test]
fn what_filters_make_of_secret_variables_is_secret() {
    let variables = [("token", "hush-hush"), ("region", "eu"), ("cfg", r#"{"db": {"password": "a-b-c-d"}}"#)];
    let names = Names {
        variables: variables.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect(),
        ..Names::default()
    };
    let secrets = |text: &str| filtered_secrets(&json!({ "args": [text] }), &names);
    assert_eq!(secrets("x {{ var.token | upper }}"), ["HUSH-HUSH"]);
    assert_eq!(secrets("{{ var.token | replace(\"-\", \"\") }}"), ["hushhush"]);
    assert_eq!(secrets("{{ var.json.cfg.db.password | replace(\"-\", \"+\") }}"), ["a+b+c+d"]);
    assert!(!secrets("{{ var.cfg | trim }}").is_empty());
    assert!(secrets("{{ var.token }} {{ var.region | upper }} {{ params.x | upper }}").is_empty());
}

#[test]
fn secrets_of_outputs_are_found_in_what_is_rendered() {
    let outputs = [("login", json!({ "access_token": "ey.abc.def", "user": "ann" })), ("page", json!("ey.plain.text"))];
    let names =
        Names { upstream: outputs.into_iter().map(|(name, value)| (name.into(), value)).collect(), ..Names::default() };
    for (config, secrets) in [
        (
            json!({ "headers": { "Authorization": "Bearer {{ upstream.page.output }}" } }),
            vec!["Bearer ey.plain.text", "ey.plain.text"],
        ),
        (json!({ "headers": { "X-Auth": "Bearer {{ upstream.page.output }}" } }), vec!["ey.plain.text"]),
        (json!({ "url": "https://x?t={{ upstream.login.output.access_token }}" }), vec!["ey.abc.def"]),
        (json!({ "body": "{{ upstream.login.output }}" }), vec!["ey.abc.def"]),
        (json!({ "body": ["{{ upstream.login.output.user }}", "{{ upstream.page.output }}"] }), vec![]),
        (json!({ "headers": { "Authorization": "Bearer written-by-hand" } }), vec![]),
    ] {
        let rendered = render(&config, &names).unwrap();
        assert_eq!(rendered_secrets(&config, &rendered, &names), secrets, "{config}");
    }
}
