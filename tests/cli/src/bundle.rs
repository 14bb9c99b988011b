//! A small bundle: its one DAG says in which process it runs, and waits for a file if its run names one.

use orch::prelude::*;
use std::process::ExitCode;
use std::time::Duration;

const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[task]
async fn tell(ctx: Ctx) -> TaskResult<()> {
    ctx.info(format!("the bundle is process {}", std::process::id()));
    while ctx.conf()["until"].as_str().is_some_and(|file| !std::path::Path::new(file).exists()) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let place = ctx.connection("bundled_place").await?;
    ctx.info(format!("the bundle works in {}", place.host.unwrap_or_default()));
    Ok(())
}

fn bundled() -> Dag {
    dag("test_bundled").tags(["test"]).build(|d| {
        d.add(tell());
    })
}

fn brought(here: &orch::Installation) -> Vec<orch::Connection> {
    let folder = here.data_dir.file_name().unwrap_or_default().to_string_lossy();
    orch::Connection::from_uri("bundled_place", &format!("place://{folder}")).into_iter().collect()
}

fn main() -> ExitCode {
    orch::Binary::new(|| vec![bundled()]).connections(brought).main()
}
