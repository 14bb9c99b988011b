//! Endpoints of files: reads `*.endpoint.yaml` in a folder and applies changes while the server runs.
//!
//! Names, sizes and times are polled once per second. If a file is broken, its last good version is served, and the
//! problem becomes an import error, as for DAG files.

use crate::endpoint::{ByPath, Endpoint, HINT, Published};
use orch_document::file::is_endpoint_file;
use orch_document::folder::{Broken, Files, problem_of_file};
use orch_store::import_error::{ENDPOINT_FILES, set_import_errors};
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Import errors of endpoints are stored under this name, next to the import errors of bundles.
const BUNDLE: &str = ENDPOINT_FILES;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const NO_FOLDER: &str = "name another as `ORCH_ENDPOINTS_FOLDER`";

/// Watches the folder and sends the current endpoints. Files cannot replace `own`, the endpoints of the binary.
pub(crate) async fn watch(folder: PathBuf, own: Arc<ByPath>, pool: PgPool, changes: watch::Sender<Arc<ByPath>>) {
    let mut files = endpoints_of(folder);
    let mut untold = None;
    loop {
        let look = tokio::task::spawn_blocking(move || {
            let is_changed = files.poll_changes();
            (files, is_changed)
        });
        let is_changed;
        match look.await {
            Ok(looked) => (files, is_changed) = looked,
            Err(error) => {
                tracing::error!(%error, "looking at the files of endpoints panicked; those that are there are served on");
                return;
            }
        }
        if is_changed {
            let (endpoints, broken) = published(&files, &own);
            tracing::info!(
                endpoints = endpoints.len() - own.len(),
                broken = broken.len(),
                "the files of endpoints were read"
            );
            changes.send_replace(endpoints.into());
            untold = Some(broken);
        }
        if let Some(broken) = &untold {
            match tell(&pool, broken).await {
                Ok(()) => untold = None,
                Err(error) => tracing::warn!(%error, "import errors of endpoints could not be recorded"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn tell(pool: &PgPool, broken: &Broken) -> orch_store::StoreResult<()> {
    set_import_errors(&mut *pool.acquire().await?, BUNDLE, broken).await
}

fn endpoints_of(folder: PathBuf) -> Files<Arc<Published>> {
    Files::new(folder, is_endpoint_file, |file, _, bytes| {
        let endpoint = Endpoint::parse(file, bytes)?;
        let published = Published::new(endpoint).map_err(|text| vec![problem_of_file(file, &text, HINT)])?;
        Ok(Arc::new(published))
    })
}

/// Returns all endpoints and the broken files. If several have the same path, the binary or the first file in path
/// order keeps it.
fn published(files: &Files<Arc<Published>>, own: &ByPath) -> (ByPath, Broken) {
    let (mut found, mut broken) = (own.clone(), files.broken(NO_FOLDER));
    let mut firsts: BTreeMap<&str, &str> = BTreeMap::new();
    for (file, published) in files.known().filter_map(|(file, known)| Some((file, known.good.as_ref()?))) {
        let path = published.endpoint.path.as_str();
        if found.contains_key(path) {
            let other = firsts.get(path).map_or("the binary".into(), |first| format!("`{first}`"));
            let text = format!("{other} has an endpoint `{path}` already\nhint: give one of the two another `path`");
            broken.entry(file.into()).or_default().push(problem_of_file(file, &text, HINT));
        } else {
            firsts.insert(path, file);
            found.insert(path.into(), published.clone());
        }
    }
    (found, broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, table: &str) -> String {
        format!("path: {path}\nabout: a\nsql: select n from {table}\ncolumns: [{{name: n, type: integer}}]\n")
    }

    fn sql<'a>(endpoints: &'a ByPath, path: &str) -> &'a str {
        &endpoints[path].endpoint.sql
    }

    #[test]
    fn files_come_and_go_and_broken_ones_take_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let own = ByPath::from([(
            "/own".to_owned(),
            Arc::new(Published::new(Endpoint::parse("own", text("/own", "a.own").as_bytes()).unwrap()).unwrap()),
        )]);
        let mut files = endpoints_of(folder.path().into());
        assert!(files.poll_changes(), "the first look is news");
        assert!(!files.poll_changes(), "there is nothing yet");

        std::fs::create_dir(folder.path().join("shop")).unwrap();
        write("shop/a.endpoint.yaml", &text("/a", "t.one"));
        write(
            "b.endpoint.json",
            r#"{"path": "/b", "about": "b", "sql": "select n from t.b", "columns": [{"name": "n", "type": "integer"}]}"#,
        );
        write("a_dag.yaml", "dag_id: no endpoint");
        assert!(files.poll_changes());
        let (found, broken) = published(&files, &own);
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["/a", "/b", "/own"]);
        assert_eq!(found["/a"].tables[0].to_string(), "t.one");
        assert_eq!(broken, Broken::new());
        assert!(!files.poll_changes(), "read once more, and the same");

        write(
            "shop/a.endpoint.yaml",
            "path: /a\nabout: a\nsql: select now() from t.two\ncolumns: [{name: n, type: integer}]\n",
        );
        write("c.endpoint.yaml", &text("/own", "t.c"));
        write("d.endpoint.yaml", &text("/b", "t.d"));
        assert!(files.poll_changes());
        let (found, broken) = published(&files, &own);
        assert_eq!(sql(&found, "/a"), "select n from t.one", "the last good one is served on");
        assert_eq!((sql(&found, "/own"), sql(&found, "/b")), ("select n from a.own", "select n from t.b"));
        let said: Vec<String> = broken.values().flatten().map(|one| format!("{}: {}", one.file, one.message)).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0], "c.endpoint.yaml: the binary has an endpoint `/own` already");
        assert_eq!(said[1], "d.endpoint.yaml: `b.endpoint.json` has an endpoint `/b` already");
        assert!(said[2].starts_with("shop/a.endpoint.yaml: `now") && said[2].contains("another answer"), "{said:?}");
        assert!(broken["shop/a.endpoint.yaml"][0].hint.contains("default_sql"));

        write("shop/a.endpoint.yaml", &text("/a", "t.one").replace("integer", "string"));
        assert!(files.poll_changes());
        let (_, broken) = published(&files, &own);
        let [problem] = broken["shop/a.endpoint.yaml"].as_slice() else { panic!("{broken:?}") };
        assert_eq!((problem.line, problem.column, problem.message.as_str()), (4, 27, "`type` cannot be `string`"));
        assert!(problem.hint.starts_with("write one of `integer`, `number`, `text`"), "{}", problem.hint);

        write("shop/a.endpoint.yaml", &text("/a", "t.three"));
        std::fs::remove_file(folder.path().join("b.endpoint.json")).unwrap();
        assert!(files.poll_changes());
        let (found, broken) = published(&files, &own);
        assert_eq!((sql(&found, "/a"), sql(&found, "/b")), ("select n from t.three", "select n from t.d"));
        assert_eq!(broken.keys().collect::<Vec<_>>(), ["c.endpoint.yaml"]);

        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(files.poll_changes());
        let (found, broken) = published(&files, &own);
        assert!(found.contains_key("/a"), "what could not be looked at is not gone");
        assert!(broken["."][0].hint.contains("ORCH_ENDPOINTS_FOLDER"));
    }
}
