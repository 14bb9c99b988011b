//! `GET …/tasks/{task_id}/{map_index}/log?try=…`: downloads the whole log as text, read in chunks.

use super::line::readable;
use crate::extract::{MappedPath, Query, no_such_instance};
use crate::pages::run::{find, the_ledger};
use crate::pages::task::chosen;
use crate::refusal::Refusal;
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::try_unfold;
use orch_store::instance::tries;
use orch_store::log::{LogCursor, read};

const PIECE_BYTES: i64 = 512 * 1024;

pub(crate) async fn download(State(app): State<App>, path: MappedPath, query: Query) -> Result<Response, Refusal> {
    let MappedPath { task, map_index } = path;
    let (run, attempt, name) = {
        let mut db = app.pages().await?;
        let run = find(&mut db, &task.run).await?;
        let ledger = the_ledger(&app, &mut db, &run).await?;
        let missing = || no_such_instance(&task.run, &task.task_id, map_index);
        let index = ledger.version.plan.index_of(&task.task_id).ok_or_else(missing)?;
        let tries = tries(&mut db, run.id, index, map_index).await?;
        let one = chosen(&tries, &query).ok_or_else(|| Refusal::not_found("it has no such try"))?;
        (run.id, one.attempt, format!("{}-{}-try{}", run.dag_id, task.task_id, one.try_no))
    };
    app.recalled(run, attempt).await?;
    let pieces = try_unfold((app, LogCursor::START), move |(app, place)| async move {
        let chunks = {
            let mut db = app.pages().await.map_err(std::io::Error::other)?;
            read(&mut db, run, attempt, place, PIECE_BYTES).await.map_err(std::io::Error::other)?
        };
        let Some(last) = chunks.last() else { return Ok::<_, std::io::Error>(None) };
        let place = last.place();
        let mut text = String::new();
        for line in chunks.iter().flat_map(|chunk| chunk.body.lines()) {
            readable(&mut text, line);
        }
        Ok(Some((Bytes::from(text), (app, place))))
    });
    // Removes every character that has a meaning in a header.
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.log\"")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
