//! Alerts from a DAG to their receivers: every kind of notifier, and the content that each one receives.

use crate::world::World;
use orch::prelude::*;
use orch_core::alert::AlertState;
use orch_core::network::Reach;
use orch_spec::Notifier;
use orch_store::alert::{ALERTS, AlertRow, add_test_alert};
use orch_store::approval::{APPROVALS, answer_approval, by};
use orch_store::connect;
use orch_store::hint::Hint;
use orch_store::list::Search;
use orch_test_support::{Manner, Receiver};
use orch_workers::{MessengerConfig, SecretsConfig, signature};
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

#[task(retries = 1, retry_delay = millis(1))]
async fn load() -> TaskResult<u64> {
    bail!("no answer from the shop")
}

#[task]
async fn sleepy(ms: u64) -> TaskResult<u64> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(ms)
}

/// Returns connections as installations set them, in the environment.
fn connections(all: &[(&str, serde_json::Value)]) -> SecretsConfig {
    let named = |(id, connection): &(&str, serde_json::Value)| {
        (format!("ORCH_CONN_{}", id.to_uppercase()), connection.to_string())
    };
    SecretsConfig { environment: all.iter().map(named).collect::<HashMap<_, _>>(), ..SecretsConfig::default() }
}

fn sends(world: World, secrets: SecretsConfig) -> World {
    sends_with(world, secrets, "", "")
}

/// Starts to send alerts; `programs` and `networks` are in the format of the settings.
fn sends_with(mut world: World, secrets: SecretsConfig, programs: &str, networks: &str) -> World {
    let public_url = "https://orch.example.com".into();
    let reach = Reach::also(networks.split(',').filter_map(|one| one.parse().ok()).collect());
    let programs = programs.parse().unwrap();
    let config = MessengerConfig { public_url, programs, reach, ..MessengerConfig::new(world.db.url(), secrets) };
    let cold = connect::cold(&world.db.url(), "orch scheduler", 4).unwrap();
    let (hints, stop) = (world.hints.clone(), world.stop.clone());
    world.running.spawn(async move { orch_workers::send_alerts(config, cold, hints, stop).await.unwrap() });
    world
}

async fn alerts(world: &World) -> Vec<AlertRow> {
    ALERTS.rows(&mut world.db.connect().await, &Search::default()).await.unwrap()
}

async fn all_in(world: &World, many: usize, state: AlertState) -> Vec<AlertRow> {
    for _ in 0..1_500 {
        let rows = alerts(world).await;
        if rows.len() == many && rows.iter().all(|row| row.state == state) {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {many} alerts are {state}: {:#?}", alerts(world).await);
}

/// Writes a program that stores its input in the file `told`. Returns its name in the format of the settings.
fn program(folder: &Path) -> String {
    let (to, path) = (folder.join("told"), folder.join("tell"));
    let to = to.display();
    std::fs::write(&path, format!("#!/bin/sh\ncat > {to} && echo $ALERT_KIND >> {to}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    format!("tell={}", path.display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_of_a_run_that_failed() {
    let (web, mail, folder) = (Receiver::http().await, Receiver::smtp().await, tempfile::tempdir().unwrap());
    let told = folder.path().join("told");
    let host = |port: u16| {
        json!({ "conn_type": "webhook", "host": format!("http://127.0.0.1:{port}/hook"),
        "login": "me", "password": "hush-1", "extra": { "signing_secret": "hush-2" } })
    };
    let secrets = connections(&[
        ("hook", host(web.port())),
        (
            "chat",
            json!({ "conn_type": "slackwebhook", "host": format!("http://127.0.0.1:{}/chat", web.port()),
            "password": "T1/B2/hush-3" }),
        ),
        (
            "mail",
            json!({ "conn_type": "smtp", "host": "127.0.0.1", "port": mail.port(), "login": "orch@example.org",
            "password": "hush-4", "extra": { "disable_tls": true, "to": "ops@example.org" } }),
        ),
        ("program", json!({ "conn_type": "command", "host": "tell" })),
    ]);
    let dag = dag("sales")
        .unpaused()
        .on_failure(notify("hook"))
        .on_failure(notify("mail").subject("{dag_id} failed").message("{run_id} is {state}"))
        .on_failure(notify("program"))
        .build(|d| {
            d.add(load().on_failure(notify("chat").message("{task_id}: {reason}")).on_retry(notify("hook")));
        });
    let world = sends_with(World::new(vec![dag], 1).await.watched(), secrets, &program(folder.path()), "");
    let run = world.trigger("sales", None).await;
    assert_eq!(world.end_of("sales", &run).await, "failed");
    all_in(&world, 5, AlertState::Sent).await;
    let letters = web.until("three letters", |all| all.len() == 3).await;
    let of = |kind: &str| letters.iter().find(|one| one.head["x-orch-alert"] == kind).expect("it was told");
    let failed = of("run_failed");
    assert_eq!(failed.head["request"], "POST /hook HTTP/1.1");
    assert_eq!(failed.head["x-orch-signature"], signature("hush-2", failed.body.as_bytes()));
    assert_eq!(failed.head["authorization"], "Basic bWU6aHVzaC0x");
    assert!(!failed.head.contains_key("signing_secret"), "what signs is not sent");
    let body: serde_json::Value = serde_json::from_str(&failed.body).unwrap();
    assert_eq!((&body["dag_id"], &body["run_id"], &body["state"]), (&json!("sales"), &json!(run), &json!("failed")));
    assert_eq!(body["key"], json!(failed.head["idempotency-key"]));
    let link = format!("https://orch.example.com/dags/sales/runs/{}", run.replace(':', "%3A").replace('+', "%2B"));
    assert_eq!(
        (&body["task_id"], &body["try_number"], &body["reason"], &body["failed_tasks"], &body["link"]),
        (&json!("load"), &json!(2), &json!("no answer from the shop"), &json!(1), &json!(link))
    );
    let text = format!("`sales`, run `{run}` failed: task `load` on attempt 2\nno answer from the shop\n{link}");
    assert_eq!(body["text"], json!(text));
    assert!(of("task_retry").body.contains("no answer from the shop"));
    let chat = of("task_failed");
    assert_eq!(chat.head["request"], "POST /chat/T1/B2/hush-3 HTTP/1.1");
    assert_eq!(chat.body, json!({ "text": "load: no answer from the shop" }).to_string());
    let letter = mail.letters().remove(0);
    assert_eq!((letter.head["from"].as_str(), letter.head["to"].as_str()), ("orch@example.org", "ops@example.org"));
    assert_eq!(
        (letter.head["subject"].as_str(), letter.body.trim()),
        ("sales failed", format!("{run} is failed").as_str())
    );
    assert_eq!(letter.head["content-type"], "text/plain; charset=utf-8");
    assert!(letter.head["auth"].starts_with("PLAIN ") && letter.head.contains_key("x-orch-alert-key"));
    let told = std::fs::read_to_string(told).unwrap();
    assert!(told.contains("\"dag_id\":\"sales\"") && told.ends_with("run_failed\n"), "{told}");
    let rows = format!("{:?}", alerts(&world).await);
    assert!(!rows.contains("hush"), "no secret is kept with an alert: {rows}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_that_they_are_asked() {
    let web = Receiver::http().await;
    let hook = json!({ "conn_type": "webhook", "host": format!("http://127.0.0.1:{}/hook", web.port()) });
    let dag = dag("report").unpaused().build(|d| {
        let words = notify("hook").message("{subject} {asked} {options} until {deadline}: {link}");
        let asked = approval("Publish it?").body("It goes *to all*.").ask(["ann", "bob"]).timeout(hours(48));
        let approved = d.add(asked.call().id("approved").on_awaiting_input(words).on_failure(notify("hook")));
        d.add(sleepy(1_u64).after(approved));
    });
    let world = sends(World::new(vec![dag], 1).await.watched(), connections(&[("hook", hook)]));
    let run = world.trigger("report", None).await;
    let told = all_in(&world, 1, AlertState::Sent).await.remove(0);
    let mut db = world.db.connect().await;
    let open = Search::default().and(by::OPEN.is_so(true));
    let asked = APPROVALS.first(&mut db, &open).await.unwrap().unwrap();
    let letter = web.until("a letter", |all| all.len() == 1).await.remove(0);
    assert_eq!(letter.head["x-orch-alert"], "task_awaiting_input");
    let body: serde_json::Value = serde_json::from_str(&letter.body).unwrap();
    let until = orch_spec::schedule::isoformat(asked.give_up_at.unwrap());
    let link = format!("https://orch.example.com/approvals/{}", asked.attempt);
    assert_eq!(body["text"], format!("Publish it? ann, bob Approve, Reject until {until}: {link}"), "{body}");
    assert_eq!((&body["link"], &body["deadline"], &body["run_id"]), (&json!(link), &json!(until), &json!(run)));
    assert_eq!((&body["body"], &body["asked"]), (&json!("It goes *to all*."), &json!(["ann", "bob"])));
    assert_eq!(told.facts.asked.unwrap().until, asked.give_up_at);
    // After the response the task continues, and no second alert is sent.
    let yes = serde_json::from_value(json!({ "chosen_options": ["Approve"] })).unwrap();
    assert!(answer_approval(&mut db, asked.attempt, &yes, "ann").await.unwrap().is_some());
    world.hints.give(Hint::Due);
    assert_eq!(world.end_of("report", &run).await, "success");
    assert_eq!(alerts(&world).await.len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_not_taken_says_why_without_secrets_and_is_sent_again() {
    let mut web = Receiver::http().await;
    let secrets = connections(&[
        (
            "hook",
            json!({ "conn_type": "webhook", "host": format!("http://127.0.0.1:{}", web.port()), "password": "hush-1" }),
        ),
        ("shop", json!({ "conn_type": "mysql", "host": "localhost" })),
    ]);
    let tells = |id: &str, to: &str| {
        dag(id).unpaused().on_success(notify(to)).build(|d| {
            d.add(sleepy(1_u64));
        })
    };
    web.is(Manner::Refuses);
    let world = sends(World::new(vec![tells("a", "hook"), tells("b", "shop"), tells("c", "nobody")], 1).await, secrets);
    for id in ["a", "b", "c"] {
        let run = world.trigger(id, None).await;
        world.end_of(id, &run).await;
    }
    let why = |rows: &[AlertRow], id: &str| {
        let row = rows.iter().find(|row| row.dag_id.as_deref() == Some(id))?;
        row.problem.clone()
    };
    let mut rows = Vec::new();
    for _ in 0..500 {
        rows = alerts(&world).await;
        if rows.iter().filter(|row| row.problem.is_some()).count() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(why(&rows, "a").as_deref(), Some(refused_by(&web).as_str()));
    assert!(why(&rows, "b").unwrap().contains("connection `shop` is of type `mysql`, which sends no alerts"));
    assert!(why(&rows, "c").unwrap().contains("there is no connection `nobody`"));
    web.go_down().await;
    web.is(Manner::Takes);
    web.come_up().await;
    web.until("it is sent again", |all| !all.is_empty()).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_goes_to_nobody_who_cannot_prove_who_he_is() {
    let ((mail, certificate), folder) = (Receiver::smtp_with_tls().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let of = |extra: serde_json::Value| {
        json!({ "conn_type": "smtp", "host": "localhost", "port": mail.port(), "login": "me@example.org",
            "password": "hush-1", "extra": extra })
    };
    let to = "ops@example.org";
    let secrets =
        connections(&[("known", of(json!({ "to": to, "ca_file": file }))), ("stranger", of(json!({ "to": to })))]);
    let dag = dag("post").unpaused().on_success(notify("stranger")).on_success(notify("known")).build(|d| {
        d.add(sleepy(1_u64));
    });
    let world = sends(World::new(vec![dag], 1).await, secrets);
    let run = world.trigger("post", None).await;
    world.end_of("post", &run).await;
    let letters = mail.until("one letter", |all| !all.is_empty()).await;
    assert!(letters[0].head["auth"].starts_with("PLAIN "), "{letters:?}");
    let mut problem = None;
    for _ in 0..500 {
        problem = alerts(&world).await.into_iter().find_map(|row| row.problem);
        if problem.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let problem = problem.expect("one of the two is not taken");
    assert!(problem.contains("certificate") && !problem.contains("hush"), "{problem}");
    assert_eq!(mail.letters().len(), 1, "and nothing is told to a stranger");
    world.end().await;
}

#[task]
async fn tables() -> TaskResult<Vec<u64>> {
    Ok((0..40).collect())
}

#[task]
async fn load_table(number: u64) -> TaskResult<u64> {
    bail!("table {number} is not there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_elements_that_fail_are_one_message_unless_each_is_wanted() {
    let web = Receiver::http().await;
    let secrets =
        connections(&[("hook", json!({ "conn_type": "webhook", "host": format!("http://127.0.0.1:{}", web.port()) }))]);
    let tells = |id: &str, whom: orch::Notify| {
        dag(id).unpaused().build(|d| {
            d.map(d.add(tables()), |number| load_table(number).on_failure(whom.clone()));
        })
    };
    let dags = vec![tells("together", notify("hook")), tells("each", notify("hook").each())];
    let world = sends(World::new(dags, 1).await, secrets);
    for id in ["together", "each"] {
        let run = world.trigger(id, None).await;
        assert_eq!(world.end_of(id, &run).await, "failed");
    }
    all_in(&world, 41, AlertState::Sent).await;
    let letters = web.until("all letters", |all| all.len() == 41).await;
    let bodies: Vec<serde_json::Value> = letters.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
    let together: Vec<_> = bodies.iter().filter(|body| body["dag_id"] == "together").collect();
    assert_eq!(together.len(), 1);
    assert_eq!(together[0]["elements"], json!({ "count": 40, "first": [0, 1, 2, 3, 4] }));
    let reason = together[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("[0] table 0 is not there\n") && reason.ends_with("and 35 more"), "{reason}");
    let mut each: Vec<_> = bodies.iter().filter_map(|body| body["map_index"].as_i64()).collect();
    each.sort_unstable();
    assert_eq!(each, (0..40).collect::<Vec<_>>());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_rings_within_two_seconds_of_its_time() {
    let web = Receiver::http().await;
    let secrets =
        connections(&[("hook", json!({ "conn_type": "webhook", "host": format!("http://127.0.0.1:{}", web.port()) }))]);
    let dag = dag("slow")
        .unpaused()
        .deadline(after_start(millis(1_500)).tell(notify("hook")))
        .deadline(after_queued(mins(5)).tell(notify("hook")))
        .build(|d| {
            d.add(sleepy(4_500_u64));
        });
    let world = sends(World::new(vec![dag], 1).await.watched(), secrets);
    let began = Instant::now();
    let run = world.trigger("slow", None).await;
    // Sends the hint that the creation of a run sends.
    world.hints.give(orch_store::hint::Hint::Due);
    let letters = web.until("it rings", |all| !all.is_empty()).await;
    let rang = began.elapsed();
    assert!(rang > Duration::from_millis(1_400) && rang < Duration::from_millis(3_500), "{rang:?}");
    assert!(letters[0].body.contains("not over 1500 ms after it started"), "{}", letters[0].body);
    assert_eq!(world.end_of("slow", &run).await, "success");
    assert_eq!(web.letters().len(), 1, "once, and not for the one that is not over");
    world.end().await;
}

/// Returns the problem of an alert that the receiver rejected.
fn refused_by(web: &Receiver) -> String {
    format!(
        "`http://127.0.0.1:{}` responded with status 503\nhint: try again later; if it fails again, read the log of that server",
        web.port()
    )
}

/// Returns the problem of one test over each connection; empty if it was sent.
async fn problems_of_tests(world: &World, connections: &[&str]) -> HashMap<String, String> {
    let mut db = world.db.connect().await;
    for connection in connections {
        let notifier = Notifier { connection: (*connection).into(), ..Notifier::default() };
        add_test_alert(&mut db, notifier, "op").await.unwrap();
    }
    world.hints.give(Hint::Alert);
    for _ in 0..1_500 {
        let rows = alerts(world).await;
        if rows.len() == connections.len() && rows.iter().all(|row| row.problem.is_some() || row.ended_at.is_some()) {
            return rows.into_iter().map(|row| (row.notifier.connection, row.problem.unwrap_or_default())).collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the tests were never sent: {:#?}", alerts(world).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_runs_no_program_that_the_settings_do_not_name() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let touch = json!(["/bin/sh", "-c", format!("touch {}", made.display())]);
    let of = |host: &str| json!({ "conn_type": "command", "host": host, "extra": { "argv": touch } });
    let path = folder.path().join("tell").display().to_string();
    let all = [
        ("by_argv", of("")),
        ("by_path", of(&path)),
        ("by_shell", of("/bin/sh")),
        ("by_way", of("../tell")),
        ("named", of("tell")),
    ];
    let world = World::new(vec![], 1).await;
    let world = sends_with(world, connections(&all), &program(folder.path()), "");
    let problems = problems_of_tests(&world, &all.each_ref().map(|(id, _)| *id)).await;
    for id in ["by_argv", "by_path", "by_shell", "by_way"] {
        assert!(problems[id].contains("which the settings do not allow"), "{id}: {}", problems[id]);
    }
    assert_eq!(problems["named"], "");
    assert!(!made.exists(), "arguments of a connection are not used");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_of_an_alert_reaches_nothing_private_and_shows_no_answer() {
    let (web, mail) = (Receiver::http().await, Receiver::smtp().await);
    web.is(Manner::Refuses);
    let hook = |host: &str| json!({ "conn_type": "webhook", "host": format!("http://{host}:{}/hook", web.port()) });
    let all = [
        ("by_figures", hook("127.0.0.2")),
        (
            "by_mail",
            json!({ "conn_type": "smtp", "host": "127.0.0.2", "port": mail.port(), "login": "a@b.c",
            "extra": { "disable_tls": true, "to": "a@b.c" } }),
        ),
        (
            "by_file",
            json!({ "conn_type": "smtp", "host": "127.0.0.1", "port": 465, "login": "a@b.c",
            "extra": { "ca_file": "/dev/zero", "to": "a@b.c" } }),
        ),
        ("allowed", hook("127.0.0.1")),
    ];
    let world = sends_with(World::new(vec![], 1).await, connections(&all), "", "127.0.0.1");
    let problems = problems_of_tests(&world, &all.each_ref().map(|(id, _)| *id)).await;
    for id in ["by_figures", "by_mail"] {
        let problem = &problems[id];
        assert!(problem.contains("is not public") && problem.contains("`test_networks`"), "{id}: {problem}");
    }
    assert!(problems["by_file"].contains("it is not a file"), "{}", problems["by_file"]);
    assert_eq!(problems["allowed"], refused_by(&web));
    assert!(problems["by_figures"].contains("127.0.0.2") && problems["by_mail"].contains("127.0.0.2"), "{problems:?}");
    assert!(mail.letters().is_empty());
    world.end().await;
}
