//! Streams declared in files: reads `*.stream.yaml` in the folder of DAG files and applies changes while the process
//! runs.
//!
//! A broken file stops no stream: its last valid version continues, and its problems become import errors.

use crate::declare::Stream;
use crate::host::{Declared, KafkaAbort, Means, host};
use crate::topic::LogEnds;
use orch_document::folder::{Broken, Files, problem_of_file};
use orch_document::stream::is_stream_file;
use orch_spec::check::FileProblem;
use orch_store::StoreResult;
use orch_store::import_error::{STREAM_FILES, set_import_errors};
use orch_store::stream::{NewStream, StreamHost, register_streams, streams_of_bundle, streams_of_others};
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Name of the bundle in which streams of files are registered, separate from the bundle of the binary.
const BUNDLE: &str = STREAM_FILES;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const NO_FOLDER: &str = "name another as `ORCH_STREAMS_FOLDER`";
const ANOTHER_NAME: &str = "give one of the two another `name`";

/// Runs the streams of a folder until the host stops.
pub(crate) async fn run_folder(
    asked: StreamHost,
    folder: PathBuf,
    means: Means,
    (ends, mut aborted): (LogEnds, watch::Receiver<Option<KafkaAbort>>),
) -> StoreResult<()> {
    let asked = StreamHost { bundle: BUNDLE.into(), ..asked };
    let (changes, mut declared) = watch::channel(Arc::new(Declared::new(Vec::new(), means.clone())));
    let watching = watch_files(asked.clone(), folder, means, changes);
    let running = async {
        // Most folders contain no streams. Start no host for such folders.
        let some = declared.wait_for(|declared| !declared.streams.is_empty());
        tokio::select! {
            Ok(_) = some => {}
            () = asked.stop.cancelled() => return Ok(()),
            Ok(_) = aborted.wait_for(Option::is_some) => return Ok(()),
        }
        host(asked.clone(), declared.clone(), ends, aborted).await
    };
    tokio::select! {
        () = watching => Ok(()),
        // The host releases the leases of its streams before it returns.
        done = running => done,
    }
}

async fn watch_files(asked: StreamHost, folder: PathBuf, means: Means, changes: watch::Sender<Arc<Declared>>) {
    let mut files = streams_of(folder);
    let mut is_behind = false;
    loop {
        let look = tokio::task::spawn_blocking(move || {
            let is_changed = files.poll_changes();
            (files, is_changed)
        });
        let is_changed;
        match look.await {
            Ok(looked) => (files, is_changed) = looked,
            Err(error) => {
                tracing::error!(%error, "looking at the files of streams panicked; those that are known run on");
                return std::future::pending().await;
            }
        }
        if is_changed || is_behind {
            is_behind = match bring(&asked, &files, &means, &changes).await {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "what the files of streams say could not be recorded");
                    true
                }
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn streams_of(folder: PathBuf) -> Files<Stream> {
    Files::new(folder, is_stream_file, |file, _, bytes| read(file, bytes))
}

/// Reads a file. A panic becomes a problem of this file and does not affect other files.
fn read(file: &str, bytes: &[u8]) -> Result<Stream, Vec<FileProblem>> {
    let problem = "reading the file panicked";
    catch_unwind(|| Stream::read(file, bytes))
        .unwrap_or_else(|_| Err(vec![problem_of_file(file, problem, "the log of the worker has the panic")]))
}

/// Passes the streams of the files to the host, and stores the problems of broken files as import errors.
async fn bring(
    asked: &StreamHost,
    files: &Files<Stream>,
    means: &Means,
    changes: &watch::Sender<Arc<Declared>>,
) -> StoreResult<()> {
    let mut db = asked.pool.acquire().await?;
    let mut broken = files.broken(NO_FOLDER);
    let mut found = declared(files, &mut broken);
    let names: Vec<String> = found.keys().cloned().collect();
    for (name, bundle) in streams_of_others(&mut db, BUNDLE, &names).await? {
        if let Some((file, _)) = found.remove(&name) {
            refuse(&mut broken, file, &format!("bundle `{bundle}` has a stream `{name}` already"));
        }
    }
    tracing::info!(streams = found.len(), broken = broken.len(), "the files of streams were read");
    // Another process may be able to read a file that this process cannot read. Keep the registered version of its
    // streams.
    let mut kept = streams_of_bundle(&mut db, BUNDLE).await?;
    kept.retain(|known| !found.contains_key(&known.name) && is_of(known, &broken));
    let streams = found.into_values().map(|(file, stream)| stream.clone().in_file(file)).collect();
    let declared = Declared::new(streams, means.clone()).keeping(kept);
    // Register the streams even if no host is running, so that a stream whose file was deleted does not stay declared.
    register_streams(&mut db, BUNDLE, &declared.registered(), asked.paused_at_creation).await?;
    set_import_errors(&mut db, BUNDLE, &broken).await?;
    changes.send_replace(Arc::new(declared));
    Ok(())
}

fn is_of(known: &NewStream, broken: &Broken) -> bool {
    known.spec["file"].as_str().is_some_and(|file| broken.contains_key(file))
}

/// Returns the streams of all files by name. If two files declare the same name, the file whose path sorts first wins.
fn declared<'a>(files: &'a Files<Stream>, broken: &mut Broken) -> BTreeMap<String, (&'a str, &'a Stream)> {
    let mut found: BTreeMap<String, (&str, &Stream)> = BTreeMap::new();
    for (file, stream) in files.known().filter_map(|(file, known)| Some((file, known.good.as_ref()?))) {
        match found.get(stream.name()) {
            Some((first, _)) => refuse(broken, file, &format!("`{first}` has a stream `{}` already", stream.name())),
            None => drop(found.insert(stream.name().into(), (file, stream))),
        }
    }
    found
}

fn refuse(broken: &mut Broken, file: &str, message: &str) {
    broken.entry(file.into()).or_default().push(problem_of_file(file, message, ANOTHER_NAME));
}

#[cfg(test)]
mod tests {
    use super::*;

    const READINGS: &str = "topic: weather\nfields: {city: text}\ntable: weather.readings\n";

    #[test]
    fn files_come_and_go_and_broken_ones_stop_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let mut files = streams_of(folder.path().into());
        let mut look = move || {
            files.poll_changes();
            let mut broken = files.broken(NO_FOLDER);
            let found = declared(&files, &mut broken);
            let topics = found.values().map(|(_, stream)| format!("{} {}", stream.name(), stream.topic)).collect();
            let said = broken.into_values().flatten().map(|problem| problem.to_string()).collect();
            (topics, said)
        };
        let nothing: (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        assert_eq!(look(), nothing);

        std::fs::create_dir(folder.path().join("a")).unwrap();
        write("a/readings.stream.yaml", READINGS);
        write("a.yaml", "dag_id: no_stream");
        assert_eq!(look(), (vec!["readings weather".into()], Vec::new()));

        write(
            "a/readings.stream.yaml",
            &READINGS.replace("weather\n", "other\n").replace("{city: text}", "{city: txt}"),
        );
        write("b.stream.json", r#"{"name": "readings", "topic": "b", "fields": {"a": "text"}, "table": "a.b"}"#);
        let (topics, said) = look();
        assert_eq!(topics, ["readings weather"], "the last good one runs on");
        assert!(
            said[0].contains("field `city` has the unknown type `txt`")
                && said[0].contains("a/readings.stream.yaml:2:16"),
            "{said:?}"
        );
        assert!(said[1].contains("`a/readings.stream.yaml` has a stream `readings` already"), "{said:?}");

        std::fs::remove_file(folder.path().join("a/readings.stream.yaml")).unwrap();
        let deep = format!("columns: {{city: \"city{}\"}}\n", " || 'a'".repeat(3_000));
        write("c.stream.yaml", &format!("{READINGS}{deep}"));
        let (topics, said) = look();
        assert_eq!(topics, ["readings b"], "a file of 3,000 operators stops no other");
        assert!(said[0].contains("c.stream.yaml") && said[0].contains("more than 400 operators"), "{said:?}");
    }
}
