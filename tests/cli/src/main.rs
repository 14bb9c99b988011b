//! The binary that the tests of this package run: the example DAGs, and test DAGs that fail, wait or leak secrets.

use orch::prelude::*;
use std::process::ExitCode;
use std::time::Duration;

/// Longer than the timeout of any test.
const FOR_EVER: Duration = Duration::from_mins(10);

/// Says what it is given.
#[task]
async fn say(ctx: Ctx, word: String) -> TaskResult<String> {
    ctx.info(format!("the word is {word}"));
    Ok(word)
}

/// Fails at once.
#[task]
async fn fail(ctx: Ctx) -> TaskResult<String> {
    ctx.warning("this will not end well");
    bail!("the source is empty")
}

/// Its source is empty at first.
#[task]
async fn fetch(ctx: Ctx) -> TaskResult<String> {
    ctx.info("asking the source");
    if ctx.try_number() == 1 {
        ctx.warning("it answered with nothing");
        bail!("the source is empty")
    }
    Ok("42 rows".to_owned())
}

/// Never ends by itself.
#[task]
async fn linger(ctx: Ctx) -> TaskResult<bool> {
    tokio::select! {
        () = tokio::time::sleep(FOR_EVER) => {}
        () = ctx.cancelled() => {}
    }
    Ok(ctx.is_cancelled())
}

/// Says something ten times a second until it is cancelled.
#[task]
async fn talk(ctx: Ctx) -> TaskResult<()> {
    let mut number = 0;
    while !ctx.is_cancelled() {
        number += 1;
        ctx.info(format!("this is line {number}"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Returns the path of a gate: a file that tasks wait for.
fn gate(ctx: &Ctx, name: &str) -> String {
    format!("{}/gate-{name}", ctx.conf()["folder"].as_str().unwrap_or_default())
}

/// Waits for one of a hundred gates.
#[task]
async fn wait_at_gate(ctx: Ctx, element: u32) -> TaskResult<u32> {
    match ctx.resumed() {
        None => Err(defer(wait::file(gate(&ctx, &(element % 100).to_string())).poke_every(mins(3)))),
        Some(_) => Ok(element),
    }
}

/// The same in a process of its own.
#[task(isolation = Isolation::Process)]
async fn wait_in_child(ctx: Ctx) -> TaskResult<Vec<String>> {
    match ctx.resumed() {
        None => Err(defer(wait::file(gate(&ctx, "*")).poke_every(millis(200)).carry("child"))),
        Some(resumed) => {
            ensure!(resumed.carried == "child", "it carries what it said");
            resumed.value_as()
        }
    }
}

fn patient() -> Dag {
    dag("test_patient").describe("A thousand wait").tags(["test"]).max_active_runs(100).build(|d| {
        d.map((0..1000).collect::<Vec<u32>>(), wait_at_gate);
    })
}

fn patient_child() -> Dag {
    dag("test_patient_child").describe("A child waits").tags(["test"]).build(|d| {
        d.add(wait_in_child());
    })
}

/// Reads what began its run and says what it did to assets, over the pipe to its worker.
#[task(isolation = Isolation::Process)]
async fn relay(ctx: Ctx) -> TaskResult<(usize, Option<String>)> {
    let events = ctx.triggering_events().await?;
    let key = ctx.partition_key().unwrap_or_default().to_string();
    ctx.emit(AssetEvent::of("test://relayed").rows(7).extra(json!({ "from": key })))?;
    ctx.lineage("test://source", "test://relayed", 7)?;
    Ok((events.len(), ctx.host().home().await?))
}

fn relaying() -> Dag {
    let source = asset("test://source").named("source").fresh_within(hours(1));
    dag("test_relaying")
        .describe("Follows one asset and updates another")
        .tags(["test"])
        .schedule(source.by_partition())
        .build(|d| {
            d.add(relay().inlet(asset("test://source")).outlet(asset("test://relayed")));
        })
}

fn talking() -> Dag {
    dag("test_talking").describe("Talks until it is cancelled").tags(["test"]).build(|d| {
        d.add(talk());
    })
}

/// What is said, and bytes that are no text, on standard output: more than a log keeps in so short a time.
#[task(isolation = Isolation::Process, memory_mb = 200)]
async fn shout() -> TaskResult<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let piece = vec![b'x'; 1_000_000];
    for _ in 0..20 {
        out.write_all(&piece)?;
    }
    let mut line = b"\n\x1b[31mred\x1b[0m \x00\xff ".to_vec();
    line.resize(1_000, b'y');
    for _ in 0..64_000 {
        out.write_all(&line)?;
    }
    out.write_all(b"\nthe last line\n")?;
    Ok(())
}

fn shouting() -> Dag {
    dag("test_shouting").describe("Writes a log of 84 MB with a line of 20 MB").tags(["test"]).build(|d| {
        d.add(shout());
    })
}

fn failing() -> Dag {
    dag("test_failing").describe("One task fails, the next cannot run").tags(["test"]).alias("broken").build(|d| {
        let nothing = d.add(fail());
        d.add(say(nothing));
    })
}

fn second_try() -> Dag {
    dag("test_second_try").describe("Fails until somebody clears it").tags(["test"]).build(|d| {
        let rows = d.add(fetch());
        d.add(say(rows));
    })
}

fn lingering() -> Dag {
    dag("test_lingering").describe("Runs until it is cancelled").tags(["test"]).build(|d| {
        d.add(linger());
    })
}

fn scheduled() -> Dag {
    dag("test_scheduled")
        .schedule(cron("0 2 * * *").tz("Europe/Berlin"))
        .start("2026-01-01")
        .tags(["test"])
        .paused()
        .build(|d| {
            d.add(say("hello"));
        })
}

/// Runs for a moment, in a process of its own.
#[task(isolation = Isolation::Process)]
async fn pause(number: u32) -> TaskResult<u32> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(number)
}

fn children() -> Dag {
    dag("test_children").describe("More child processes than may run at once").tags(["test"]).build(|d| {
        d.map((0..7).collect::<Vec<u32>>(), pause);
    })
}

/// Returns a secret in several forms in which a task could reveal it.
fn forms(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let percent = secret.bytes().fold(String::new(), |url, byte| format!("{url}%{byte:02X}"));
    vec![secret.to_owned(), hex, percent, format!("{secret:?}"), format!("user:{secret}@host")]
}

async fn say_secrets(ctx: &Ctx) -> TaskResult<String> {
    let connection = ctx.connection("planted").await?;
    let secret = connection.password.clone().context("it has a password")?;
    let others = [ctx.variable("planted_token").await?, ctx.variable("from_environment_secret").await?];
    let token = connection.extra["api_key"].as_str().unwrap_or_default().to_owned();
    for secret in others.iter().chain([&secret, &token]) {
        for form in forms(secret) {
            ctx.info(format!("found {form}"));
            ctx.log(orch::LogLevel::Warning, "as a field", serde_json::json!({ "nested": { "text": form } }));
            tracing::info!(form, "by tracing: {form}");
        }
    }
    ctx.info(connection.to_uri());
    ctx.info("all of it was said");
    Ok(secret)
}

/// Says what it should not and ends well.
#[task]
async fn tell(ctx: Ctx) -> TaskResult<u32> {
    say_secrets(&ctx).await?;
    #[expect(clippy::disallowed_methods, reason = "a body may look around")]
    for (name, value) in std::env::vars() {
        ctx.info(format!("{name}={value}"));
    }
    Ok(1)
}

/// Its error has the secret in its causes.
#[task]
async fn tell_in_error(ctx: Ctx) -> TaskResult<u32> {
    let secret = say_secrets(&ctx).await?;
    Err(anyhow::anyhow!("password authentication failed: postgres://me:{secret}@db")).context(format!("with {secret}"))
}

#[task]
async fn tell_in_panic(ctx: Ctx) -> TaskResult<u32> {
    let secret = say_secrets(&ctx).await?;
    panic!("cannot log in with {secret}")
}

/// In a process of its own, printing.
#[task(isolation = Isolation::Process)]
async fn tell_in_child(ctx: Ctx) -> TaskResult<u32> {
    let secret = say_secrets(&ctx).await?;
    for form in forms(&secret) {
        // So long that the line is cut in the middle of the secret.
        let long = "x".repeat(60 * 1024 - 3);
        std::io::Write::write_all(&mut std::io::stdout(), format!("printed {form}\n{long}{form}\n").as_bytes())?;
        std::io::Write::write_all(&mut std::io::stderr(), format!("printed {form}\n").as_bytes())?;
    }
    let own = [format!("/proc/{}/environ", std::process::id()), format!("/proc/{}/cmdline", std::process::id())];
    for path in own {
        ctx.info(String::from_utf8_lossy(&std::fs::read(path)?));
    }
    panic!("the child cannot log in with {secret}")
}

/// Asks for what is not there.
#[task(isolation = Isolation::Process)]
async fn miss(ctx: Ctx) -> TaskResult<u32> {
    ctx.connection("nowhere").await.map(|_| 1)
}

/// Gives away what it should not, in its output and under a key.
#[task]
async fn give(ctx: Ctx) -> TaskResult<Vec<String>> {
    let secret = say_secrets(&ctx).await?;
    ctx.push("pushed", serde_json::json!({ "deep": [format!("postgres://me:{secret}@db")], "plain": "nothing" }))
        .await?;
    Ok(forms(&secret))
}

/// Needs as it is what another task gave; in a process of its own.
#[task(isolation = Isolation::Process)]
async fn take(ctx: Ctx, given: Vec<String>) -> TaskResult<String> {
    let secret = ctx.connection("planted").await?.password.context("it has a password")?;
    let pushed: serde_json::Value = ctx.pull("give", "pushed").await?.context("it was pushed")?;
    if given != forms(&secret) || pushed["deep"][0] != format!("postgres://me:{secret}@db") {
        bail!("what was given is not what came")
    }
    Ok(secret)
}

/// The same of one element.
#[task]
async fn take_one(ctx: Ctx, given: String) -> TaskResult<String> {
    let secret = ctx.connection("planted").await?.password.context("it has a password")?;
    if !forms(&secret).contains(&given) {
        bail!("what was given is not what came")
    }
    Ok(given)
}

fn planted() -> Dag {
    dag("test_planted").describe("Tasks that say secrets").tags(["test"]).build(|d| {
        d.add(tell());
        d.add(tell_in_error());
        d.add(tell_in_panic());
        d.add(tell_in_child());
        d.add(miss());
        d.add(shell("env; echo the shell is done").id("look_around"));
        let given = d.add(give());
        d.add(take(given));
        d.map(given, take_one);
    })
}

/// Leaves a step for its end, which cannot leave its process.
#[task(isolation = Isolation::Process)]
async fn commit_in_child(ctx: Ctx) -> TaskResult<()> {
    ctx.commit(orch::completion::step("publish", |_| Box::pin(std::future::ready(Ok(())))))
}

/// Counts what it reads.
#[task]
async fn count_rows(ctx: Ctx) -> TaskResult<String> {
    ctx.progress(1_200_000, 34_500_000);
    Ok(ctx.connection("test_lake").await.map(|found| found.to_uri()).unwrap_or_default())
}

fn committing() -> Dag {
    dag("test_committing").describe("A child commits something").tags(["test"]).build(|d| {
        d.add(commit_in_child());
    })
}

fn counting() -> Dag {
    dag("test_counting").describe("Says how far it is").tags(["test"]).build(|d| {
        d.add(count_rows());
    })
}

/// Waits until somebody makes the file `open` in the folder of the conf.
#[task]
async fn wait_for_opening(ctx: Ctx) -> TaskResult<()> {
    let gate = format!("{}/open", ctx.conf()["folder"].as_str().unwrap_or_default());
    while !std::path::Path::new(&gate).exists() && !ctx.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Leaves a file that says in which binary the run ended.
#[task]
async fn sign(ctx: Ctx) -> TaskResult<()> {
    let folder = ctx.conf()["folder"].as_str().unwrap_or_default().to_owned();
    std::fs::write(format!("{folder}/{}", ctx.run().run_id), shape().unwrap_or_default())?;
    Ok(())
}

/// Returns the name of the DAG shape that a test selected. Two shapes stand for two binaries.
#[expect(clippy::disallowed_methods, reason = "this binary has no other settings")]
fn shape() -> Option<String> {
    std::env::var("TEST_SHAPE").ok()
}

/// Builds a DAG whose second shape has an additional task before the end.
fn shaped() -> Dag {
    dag("test_shaped").describe("Is of the shape that its process was given").tags(["test"]).build(|d| {
        let opened = d.add(wait_for_opening());
        if shape().as_deref() == Some("second") {
            let more = d.add(say("more").after(opened));
            d.add(sign().after(more));
        } else {
            d.add(sign().after(opened));
        }
    })
}

/// Returns true if the binary must provide a connection, which only some tests need.
#[expect(clippy::disallowed_methods, reason = "this binary has no other settings")]
fn brings_connections() -> bool {
    std::env::var_os("TEST_BRINGS_CONNECTIONS").is_some()
}

fn brought(here: &orch::Installation) -> Vec<orch::Connection> {
    let uri = format!("lake://me:hunter2hunter2@catalog/{}", here.data_dir.join("lake").display());
    if brings_connections() { orch::Connection::from_uri("test_lake", &uri).into_iter().collect() } else { Vec::new() }
}

fn main() -> ExitCode {
    let binary = orch::Binary::new(|| {
        [
            orch_examples::dags(),
            vec![
                failing(),
                second_try(),
                lingering(),
                scheduled(),
                children(),
                talking(),
                shouting(),
                planted(),
                patient(),
                patient_child(),
                relaying(),
                committing(),
                counting(),
            ],
            if shape().is_some() { vec![shaped()] } else { Vec::new() },
        ]
        .into_iter()
        .flatten()
        .collect()
    });
    let binary = binary.examples(|dag_id| dag_id.starts_with("example_"));
    orch_cli::main(binary.connections(brought).source())
}
