//! Looks up connections and variables in two files, in the format of Airflow's `LocalFilesystemBackend`. The files are
//! read for every value that is not cached, so changes need no reload.

use super::{Backend, BackendError, BackendResult};
use orch_document::kept::Document;
use orch_sdk::task::{BoxFuture, Connection};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const MOST_BYTES: u64 = 16 << 20;

pub(super) struct Files {
    pub(super) connections: Option<PathBuf>,
    pub(super) variables: Option<PathBuf>,
}

async fn read(path: &Path) -> Result<String, BackendError> {
    let wrong = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => BackendError::for_good(format!("`{}` is not there", path.display())),
        _ => BackendError::for_now(format!("`{}` cannot be read: {error}", path.display())),
    };
    if tokio::fs::metadata(path).await.map_err(wrong)?.len() > MOST_BYTES {
        return Err(BackendError::for_good(format!("`{}` has more than {MOST_BYTES} bytes", path.display())));
    }
    tokio::fs::read_to_string(path).await.map_err(wrong)
}

impl Backend for Files {
    fn name(&self) -> String {
        let path = self.connections.as_ref().or(self.variables.as_ref());
        path.map_or_else(|| "files".into(), |path| format!("files such as `{}`", path.display()))
    }

    fn connection(&self, id: &str) -> BoxFuture<BackendResult<Connection>> {
        let Some(path) = self.connections.clone() else { return Box::pin(std::future::ready(Ok(None))) };
        let id = id.to_string();
        Box::pin(async move {
            let text = read(&path).await?;
            let all = Document::of_file(&path, &text).and_then(|file| file.connections());
            let mut all = all.map_err(BackendError::for_good)?;
            Ok(all.remove(&id))
        })
    }

    fn variable(&self, key: &str) -> BoxFuture<BackendResult<String>> {
        let Some(path) = self.variables.clone() else { return Box::pin(std::future::ready(Ok(None))) };
        let key = key.to_string();
        Box::pin(async move {
            let text = read(&path).await?;
            let all = Document::of_file(&path, &text).and_then(|file| file.variables());
            let mut all = all.map_err(BackendError::for_good)?;
            Ok(all.remove(&key).map(|variable| variable.value))
        })
    }
}
