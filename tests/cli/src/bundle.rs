//! A small bundle. Its only DAG logs its process id, and waits until a socket is closed if the conf of its run names
//! one.

use orch::prelude::*;
use std::process::ExitCode;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

#[task]
async fn tell(ctx: Ctx) -> TaskResult<()> {
    ctx.info(format!("the bundle is process {}", std::process::id()));
    // The end of the connection is the event; nothing is sent. If nothing listens on the socket, the event has already
    // happened.
    if let Some(socket) = ctx.conf()["until"].as_str()
        && let Ok(mut connection) = UnixStream::connect(socket).await
    {
        drop(connection.read(&mut [0]).await);
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
