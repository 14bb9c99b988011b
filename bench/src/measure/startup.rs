//! Time from the start of the process to the first successful response, on an existing cluster.

use anyhow::Result;

use super::server::Server;
use super::{Bench, Figure, stats};
use crate::dags::Beside;

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(5, 3);
    bench.stop()?;
    let mut took = Vec::new();
    for number in 0..=repetitions {
        let server = Server::start(&bench.data, Beside::default())?;
        if number > 0 {
            took.push(server.healthy_after_ms);
        }
        server.stop()?;
    }
    Ok(vec![Figure::new("start_to_healthy_ms", stats::median(&took), repetitions)])
}
