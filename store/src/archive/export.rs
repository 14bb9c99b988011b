//! Exports tables of archived rows. Writes gzipped CSV files (parts), and finally a manifest with row counts and
//! checksums. A table without a manifest was not exported completely.

use super::{Archive, ArchiveError};
use crate::{StoreError, StoreResult, boxed};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::TryStreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnection;
use std::fmt::Write as _;
use std::io::Write as _;

/// Size of a part before compression. Only one part is in memory at a time.
const PART_BYTES: usize = 32 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub table: String,
    pub rows: u64,
    pub parts: usize,
    pub bytes: u64,
    /// Folder in the archive that contains the parts and the manifest.
    pub folder: String,
}

/// Writes an archived table into its own folder below `folder`. A repeated export replaces the same objects.
///
/// # Errors
/// Returns an error if the archive cannot be written or the table changed during the export. The table must not be
/// dropped then.
#[boxed]
pub async fn export(db: &mut PgConnection, table: &str, archive: &dyn Archive, folder: &str) -> StoreResult<Exported> {
    let folder = if folder.is_empty() { table.to_owned() } else { format!("{folder}/{table}") };
    let mut writer = Writer { folder, parts: Vec::new(), bytes: 0 };
    let (mut part, mut rows) = (ExportChunk::default(), 0_u64);
    {
        let copy = format!("copy {table} to stdout with (format csv, header true)");
        let mut lines = db.copy_out_raw(&copy).await?;
        let mut is_header = true;
        // Postgres sends one row per message, so each part ends with a whole row.
        while let Some(line) = lines.try_next().await? {
            part.add(&line, u64::from(!is_header))?;
            rows += u64::from(!is_header);
            is_header = false;
            if part.raw >= PART_BYTES {
                writer.put(archive, std::mem::take(&mut part)).await?;
            }
        }
    }
    writer.put(archive, part).await?;
    let there = crate::clean::count_rows(db, table).await?;
    if there != rows {
        return Err(StoreError::Archive(ArchiveError(format!("`{table}` changed while it was exported"))));
    }
    let columns = crate::clean::columns(db, table).await?;
    let manifest = json!({
        "format": "orch archive 1",
        "table": table,
        "columns": columns.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect::<Vec<_>>(),
        "rows": rows,
        "parts": writer.parts,
        "exported_at": crate::clean::now(db).await?,
    });
    let text = format!("{manifest:#}\n").into_bytes();
    archive.put(format!("{}/manifest.json", writer.folder), text).await?;
    Ok(Exported { table: table.into(), rows, parts: writer.parts.len(), bytes: writer.bytes, folder: writer.folder })
}

struct Writer {
    folder: String,
    /// Entries of the manifest, one per part.
    parts: Vec<Value>,
    bytes: u64,
}

impl Writer {
    async fn put(&mut self, archive: &dyn Archive, part: ExportChunk) -> StoreResult<()> {
        let ExportChunk { rows, packed, .. } = part;
        let packed = packed.finish().map_err(|error| StoreError::packing(&error))?;
        let name = format!("part-{:05}.csv.gz", self.parts.len());
        self.parts.push(json!({ "name": name, "rows": rows, "bytes": packed.len(), "sha256": hex(&packed) }));
        self.bytes += packed.len() as u64;
        archive.put(format!("{}/{name}", self.folder), packed).await?;
        Ok(())
    }
}

struct ExportChunk {
    rows: u64,
    raw: usize,
    packed: GzEncoder<Vec<u8>>,
}

impl Default for ExportChunk {
    fn default() -> Self {
        ExportChunk { rows: 0, raw: 0, packed: GzEncoder::new(Vec::new(), Compression::fast()) }
    }
}

impl ExportChunk {
    fn add(&mut self, line: &[u8], rows: u64) -> StoreResult<()> {
        (self.rows, self.raw) = (self.rows + rows, self.raw + line.len());
        self.packed.write_all(line).map_err(|error| StoreError::packing(&error))
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
