//! The log of a task instance as a page: windows, search, levels, groups, and single long lines.

use crate::browser::{Browser, Page};
use crate::fixture::Web;
use crate::live::{running, say};
use axum::http::StatusCode;
use orch_spec::state::TaskState;
use orch_store::log::{LeftOut, NewChunk, append, leave_out};
use orch_store::step::Lease;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeSet;

const CHUNKS: i32 = 60;
const LINES_OF_CHUNK: i32 = 100;

/// Appends a chunk of lines with these levels.
async fn say_at(db: &mut PgConnection, lease: &Lease, seq: i32, lines: &[(&str, &str)]) {
    let line = |(level, text): &(&str, &str)| json!({ "level": level, "event": text }).to_string() + "\n";
    let body = lines.iter().map(line).collect();
    let Lease { run, attempt, lease_no, .. } = *lease;
    append(db, &[NewChunk { run, attempt, lease_no, seq, lines: lines.len() as i32, body }]).await.unwrap();
}

/// Appends a log of 6,000 lines. Every thousandth line is an error, and two lines contain the word.
async fn long_log(db: &mut PgConnection, lease: &Lease) {
    let Lease { run, attempt, lease_no, .. } = *lease;
    let line = |number: i32| {
        let level = if number % 1_000 == 0 { "error" } else { "info" };
        let word = if [50, 5_990].contains(&number) { "Needle" } else { "hay" };
        format!("{}\n", json!({ "level": level, "event": format!("line {number} {word} {}", "x".repeat(100)) }))
    };
    let chunks: Vec<NewChunk> = (0..CHUNKS)
        .map(|seq| {
            let body = (1..=LINES_OF_CHUNK).map(|number| line(seq * LINES_OF_CHUNK + number)).collect();
            NewChunk { run, attempt, lease_no, seq, lines: LINES_OF_CHUNK, body }
        })
        .collect();
    append(db, &chunks).await.unwrap();
}

fn numbers(page: &Page) -> Vec<i64> {
    let lines = page.html.split(r#" id="L"#).skip(1);
    lines.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

/// Returns the address of a link of the page, without its fragment.
fn link(page: &Page, text: &str) -> Option<String> {
    let before = page.html.split(text).next().filter(|before| before.len() < page.html.len())?;
    let href = before.rsplit(r#"href=""#).next()?.split('"').next()?;
    Some(href.replace("&#38;", "&").split('#').next()?.to_string())
}

#[tokio::test]
async fn a_long_log_is_read_window_by_window_from_its_end() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    long_log(&mut db, &lease).await;
    let mut browser = Browser::logged_in(&web).await;
    let task = format!("{run}/tasks/t0");
    let mut page = browser.get(&task).await;
    assert!(page.has("6000 lines") && numbers(&page).last() == Some(&6_000), "{}", page.html);
    let mut seen = Vec::new();
    loop {
        assert_eq!(page.status, StatusCode::OK);
        let shown = numbers(&page);
        assert!(shown.len() <= 1_000, "{} lines", shown.len());
        seen.splice(0..0, shown);
        let Some(earlier) = link(&page, ">Earlier lines<") else { break };
        page = browser.get(&format!("{task}{}", earlier.replace(' ', "%20"))).await;
    }
    assert_eq!(seen, (1..=6_000).collect::<Vec<_>>());
    // A line keeps its address, and paging continues from there.
    let page = browser.get(&format!("{task}?try=1&from=2492")).await;
    let shown = numbers(&page);
    assert_eq!((shown[0], page.has(r#"href="?try=1&#38;from=2492#L2500""#)), (2_492, true), "{}", page.html);
    let page = browser.get(&format!("{task}{}", link(&page, ">Later lines<").unwrap())).await;
    assert_eq!(numbers(&page)[0], shown.last().unwrap() + 1);
    // A reader in the middle of the log receives no new lines from its end.
    assert!(!page.has("data-log-end") && !page.has("&#38;at="), "{}", page.html);
    assert_eq!(browser.get(&format!("{task}?from=x")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_search_goes_through_the_whole_log_and_leads_from_line_to_line() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    long_log(&mut db, &lease).await;
    let mut browser = Browser::logged_in(&web).await;
    let task = format!("{run}/tasks/t0");
    let found = browser.get(&format!("{task}?q=needle")).await;
    assert!(found.has(">2 found<") && found.has("line 50 <mark>Needle</mark>"), "{}", found.html);
    let next = link(&found, r#" rel="next" data-key="n""#).unwrap_or_else(|| panic!("{}", found.html));
    assert_eq!(next, "?try=1&q=needle&hit=1");
    let second = browser.get(&format!("{task}?try=1&q=needle&hit=2")).await;
    assert!(second.has(">2 of 2<") && second.has("line 5990 <mark>Needle</mark>"), "{}", second.html);
    assert!(second.has(r#"href="?try=1&#38;q=needle&#38;hit=1#L50" rel="prev""#), "{}", second.html);
    assert!(browser.get(&format!("{task}?q=nothing")).await.has(">0 found<"));
    // Level filters also search the whole log.
    let errors = browser.get(&format!("{task}?level=error")).await;
    assert_eq!(numbers(&errors), [1_000, 2_000, 3_000, 4_000, 5_000, 6_000]);
    assert!(errors.has(r#"href="?try=1&#38;from=992#L1000""#), "{}", errors.html);
    let first = browser.get(&format!("{task}?to=error")).await;
    assert_eq!((first.status, first.location().ends_with("?try=1&from=992#L1000")), (StatusCode::SEE_OTHER, true));
}

#[tokio::test]
async fn a_level_shows_what_is_graver_too_out_of_the_whole_log() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    let Lease { run: id, attempt, lease_no, .. } = lease;
    let levels = ["debug", "info", "warning", "error", "critical"];
    let line =
        |n: usize| json!({ "level": levels[n % 5], "event": format!("{n} {}", "x".repeat(200)) }).to_string() + "\n";
    for seq in 0..20 {
        let body: String = (0..100).map(line).collect();
        append(&mut db, &[NewChunk { run: id, attempt, lease_no, seq, lines: 100, body }]).await.unwrap();
    }
    let mut browser = Browser::logged_in(&web).await;
    let task = format!("{run}/tasks/t0");
    for (level, kept) in [("error", 800), ("warn", 1_200)] {
        let page = browser.get(&format!("{task}?level={level}")).await;
        let shown = numbers(&page);
        let places: BTreeSet<i64> = shown.iter().map(|number| (number - 1) % 5).collect();
        let wanted = if level == "error" { vec![3, 4] } else { vec![2, 3, 4] };
        assert_eq!(places.into_iter().collect::<Vec<_>>(), wanted, "{level}");
        // The counts cover the whole log, while the page shows only a part.
        assert!(page.has(r#"Error <span class="n">800</span>"#) && page.has(r#"Warn <span class="n">400</span>"#));
        assert!(shown.len() <= kept && shown.last() == Some(&2_000), "{level}: {}", shown.len());
        assert_eq!(page.html.matches(r#"data-level=""#).count(), 4);
        let pressed = format!(r#"&#38;level={level}" data-level="{level}""#);
        assert!(page.has(&pressed) && page.html.matches(r#" aria-current="true">"#).count() >= 1, "{}", page.html);
    }
    let all = browser.get(&format!("{task}?level=debug")).await;
    assert!(all.has("2000 lines") && !numbers(&all).is_empty() && !all.has("&#38;level=debug"), "{}", all.html);
}

#[tokio::test]
async fn a_log_leads_to_its_first_error_or_warning_or_says_that_it_has_neither() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    say(&mut db, &lease, 0, &["fine"]).await;
    let mut browser = Browser::logged_in(&web).await;
    let (task, search) = (format!("{run}/tasks/t0"), format!("{run}/tasks/t0?to=error"));
    // Lines may still come, so the log is searched when the reader asks for it.
    let page = browser.get(&task).await;
    assert!(page.has(r#"href="?try=1&#38;to=error">First error<"#) && !page.has("No errors"), "{}", page.html);
    let page = browser.get(&search).await;
    assert!(page.has(">No errors or warnings up to line 1<") && page.has(">First error<"), "{}", page.html);
    web.end(&mut db, lease, TaskState::Success, &[]).await;
    let page = browser.get(&task).await;
    assert!(page.has(">No errors or warnings<") && !page.has("First error"), "{}", page.html);
    for (seq, level, label) in [(1, "warning", "First warning"), (2, "error", "First error")] {
        say_at(&mut db, &lease, seq, &[(level, "one"), (level, "two")]).await;
        let number = 2 * seq;
        let page = browser.get(&task).await;
        assert!(page.has(&format!(r##"href="#L{number}">{label}<"##)) && !page.has("No errors"), "{}", page.html);
        let found = browser.get(&search).await;
        assert!(found.location().ends_with(&format!("?try=1&from=1#L{number}")), "{}", found.location());
    }
}

#[tokio::test]
async fn a_traceback_is_one_block_with_its_error_as_the_title() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    let traceback = ["Traceback (most recent call last):", "  File \"<stdin>\", line 1", "ValueError: <no>"];
    say(&mut db, &lease, 0, &["before"]).await;
    say_at(&mut db, &lease, 1, &traceback.map(|text| ("warning", text))).await;
    say(&mut db, &lease, 2, &["after"]).await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("{run}/tasks/t0")).await;
    let title = "Traceback: ValueError: &#60;no&#62; <span class=\"meta\">3 lines</span>";
    assert!(page.has("<li class=\"g\"><details open><summary>") && page.has(title), "{}", page.html);
    assert_eq!(numbers(&page), [1, 2, 3, 4, 5]);
    let block = page.html.split("<details open>").nth(1).unwrap().split("</details>").next().unwrap();
    assert!(block.contains("id=\"L2\"") && block.contains("id=\"L4\"") && !block.contains("id=\"L5\""), "{block}");
    // The group is also shown in a list of one level.
    let page = browser.get(&format!("{run}/tasks/t0?level=warn")).await;
    assert!(page.has(title) && numbers(&page) == [2, 3, 4], "{}", page.html);
}

#[tokio::test]
async fn a_log_says_where_its_try_began_again() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    say(&mut db, &lease, 0, &["before"]).await;
    sqlx::raw_sql("update task_instance set lease_no = 2, lost_no = 1").execute(&mut db).await.unwrap();
    say(&mut db, &Lease { lease_no: 2, ..lease }, 0, &["after"]).await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("{run}/tasks/t0")).await;
    let (before, after) = (page.html.find(">before<"), page.html.find(">after<"));
    let mark = page.html.find("Its worker was lost. The try began again here.");
    assert!(before < mark && mark < after && mark.is_some(), "{}", page.html);
    // The panel "Why" and the picture of the run show it too.
    assert!(page.has("In try 1, its worker was lost, and it began again."), "{}", page.html);
    let gantt = browser.get(&run).await;
    assert!(gantt.has("1 worker lost"), "{}", gantt.html);
}

#[tokio::test]
async fn groups_are_folded_long_lines_are_cut_and_what_is_left_out_is_said() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    let long = format!("{} the end", "é".repeat(5_000));
    say(&mut db, &lease, 0, &["::group::Set <up>", "one", "two", "::endgroup::", &long, "five", "six"]).await;
    for seq in 1..=3 {
        say(&mut db, &lease, seq, &["a", "b"]).await;
    }
    let Lease { run: id, attempt, lease_no, .. } = lease;
    let text = format!("{}\n", json!({ "level": "warning", "event": "4 lines are left out here" }));
    leave_out(&mut db, &LeftOut { run: id, attempt, lease_no, first: 1, last: 2, lines: 4, text }).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    let task = format!("{run}/tasks/t0");
    let page = browser.get(&task).await;
    assert!(
        page.has("<details><summary>") && page.has("Set &#60;up&#62; <span class=\"meta\">2 lines</span>"),
        "{}",
        page.html
    );
    // Lines after the gap keep their numbers.
    assert_eq!(numbers(&page), [1, 2, 3, 5, 6, 7, 8, 12, 13]);
    assert!(page.has("13 lines") && page.has("4 lines are left out here") && !page.has("the end"), "{}", page.html);
    let whole = link(&page, ">… 8008 bytes more<").unwrap_or_else(|| panic!("{}", page.html));
    let whole = browser.get(&format!("{task}{whole}")).await;
    assert!(whole.has("the end") && numbers(&whole) == [5], "{}", whole.html);
    assert!(browser.get(&format!("{task}?q=two")).await.has("<details open>"));
}
