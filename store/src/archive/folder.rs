//! An archive in a folder. A file gets the name of its object only when its whole content is on disk.

use super::{Archive, ArchiveError, ArchiveResult};
use orch_sdk::task::BoxFuture;
use std::io::{Error, ErrorKind};
use std::path::{Component, Path, PathBuf};
use tokio::fs;
use tokio::io::AsyncWriteExt;

/// Suffix of files that are being written. They are not listed as objects.
const UNFINISHED: &str = ".unfinished";

#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Returns an archive in `root`, which the first `put` creates.
    pub fn at(root: impl Into<PathBuf>) -> Folder {
        Folder { root: root.into() }
    }

    /// Rejects keys that point outside of the folder.
    fn path(&self, key: &str) -> ArchiveResult<PathBuf> {
        let is_plain = Path::new(key).components().all(|part| matches!(part, Component::Normal(_)));
        if is_plain { Ok(self.root.join(key)) } else { Err(ArchiveError(format!("`{key}` is no key of an archive"))) }
    }
}

impl Archive for Folder {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, key: String, content: Vec<u8>) -> BoxFuture<ArchiveResult<()>> {
        let path = self.path(&key);
        Box::pin(async move {
            let path = path?;
            write_whole(&path, &content).await.map_err(wrong("write", &path))
        })
    }

    fn get(&self, key: String) -> BoxFuture<ArchiveResult<Vec<u8>>> {
        let path = self.path(&key);
        Box::pin(async move {
            let path = path?;
            fs::read(&path).await.map_err(wrong("read", &path))
        })
    }

    fn list(&self, folder: String) -> BoxFuture<ArchiveResult<Vec<String>>> {
        let path = self.path(&folder);
        Box::pin(async move {
            let path = path?;
            let names = names(&path).await.map_err(wrong("read", &path))?;
            Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
        })
    }
}

fn wrong(what: &'static str, path: &Path) -> impl FnOnce(Error) -> ArchiveError {
    let path = path.display().to_string();
    move |error| ArchiveError(format!("cannot {what} `{path}` of the archive: {error}"))
}

async fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
    fs::create_dir_all(folder).await?;
    // Each writer uses its own file, so that concurrent writers of one object do not mix their contents.
    let unfinished = folder.join(format!("{}{UNFINISHED}", uuid::Uuid::new_v4()));
    let written = async {
        let mut file = fs::File::create(&unfinished).await?;
        file.write_all(content).await?;
        file.sync_all().await?;
        fs::rename(&unfinished, path).await?;
        // The file name must also survive a power failure, because the archived rows are deleted from the database
        // afterwards.
        fs::File::open(folder).await?.sync_all().await
    };
    let written = written.await;
    if written.is_err() && fs::remove_file(&unfinished).await.is_err() {
        tracing::debug!(path = %unfinished.display(), "what was not finished is left");
    }
    written
}

async fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut entries = match fs::read_dir(folder).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(UNFINISHED) && entry.file_type().await?.is_file() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_the_folder() {
        let folder = Folder::at("/archive");
        assert_eq!(folder.path("logs/a.gz").expect("a key"), Path::new("/archive/logs/a.gz"));
        for key in ["../a", "/etc/passwd", "a/../../b", "./a"] {
            assert!(folder.path(key).is_err(), "{key}");
        }
    }
}
