//! The binary that the tests beside it run: the examples, and DAGs that end in other ways.

use orch::prelude::*;
use std::process::ExitCode;
use std::time::Duration;

/// Longer than any test waits.
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

fn main() -> ExitCode {
    orch::main(|| {
        [
            orch_examples::dags(),
            vec![failing(), second_try(), lingering(), scheduled(), children(), talking(), shouting()],
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
