//! Progress reports of task attempts. The last report of each attempt is stored and displayed, also after the attempt
//! has ended.

use crate::{StoreResult, boxed};
use orch_spec::text::counted;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// The last progress report of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub rows: i64,
    pub bytes: i64,
    /// Time in milliseconds since the task function started, by the clock of the worker.
    pub after_ms: i64,
}

/// A progress report that an attempt made under one of its leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewProgress {
    pub run: Uuid,
    pub attempt: Uuid,
    pub lease_no: i32,
    pub said: Progress,
}

/// Stores the last progress reports of attempts. A report is ignored if a later lease of the same attempt has already
/// reported.
#[boxed]
pub async fn keep(db: &mut PgConnection, all: &[NewProgress]) -> StoreResult<()> {
    sqlx::query!(
        "insert into progress as p (run, attempt, lease_no, rows, bytes, after_ms)
        select n.* from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[]) n
        on conflict (run, attempt) do update set lease_no = excluded.lease_no, rows = excluded.rows, bytes = excluded.bytes,
          after_ms = excluded.after_ms, at = now() where p.lease_no <= excluded.lease_no",
        &all.iter().map(|new| new.run).collect::<Vec<_>>(),
        &all.iter().map(|new| new.attempt).collect::<Vec<_>>(),
        &all.iter().map(|new| new.lease_no).collect::<Vec<_>>(),
        &all.iter().map(|new| new.said.rows).collect::<Vec<_>>(),
        &all.iter().map(|new| new.said.bytes).collect::<Vec<_>>(),
        &all.iter().map(|new| new.said.after_ms).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the last progress report of an attempt, or `None` if it has not reported.
#[boxed]
pub async fn of_try(db: &mut PgConnection, run: Uuid, attempt: Uuid) -> StoreResult<Option<Progress>> {
    let said = sqlx::query_as!(
        Progress,
        "select rows, bytes, after_ms from progress where run = $1 and attempt = $2",
        run,
        attempt
    );
    Ok(said.fetch_optional(db).await?)
}

impl Progress {
    /// Formats the progress for display, such as `1,200,000 rows, 34.5 MB, 240,000 rows/s`. Values that were not
    /// reported are left out.
    #[expect(clippy::cast_possible_truncation, reason = "a float too large for it becomes the largest whole number")]
    pub fn in_words(&self) -> String {
        let seconds = self.after_ms.max(1) as f64 / 1_000.0;
        let per_second = |amount: i64| (amount as f64 / seconds).round() as u64;
        let mut parts = Vec::new();
        if self.rows > 0 {
            parts.push(counted(thousands(self.rows.unsigned_abs()), "row"));
        }
        if self.bytes > 0 {
            parts.push(size(self.bytes.unsigned_abs()));
        }
        match (self.rows, self.bytes) {
            (0, 0) => parts.push("nothing yet".into()),
            (0, bytes) => parts.push(format!("{}/s", size(per_second(bytes)))),
            (rows, _) => parts.push(counted(thousands(per_second(rows)), "row") + "/s"),
        }
        parts.join(", ")
    }
}

/// Formats a number with thousands separators, such as `1,200,000`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a number of bytes for display, such as `34.5 MB`.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} {}", if bytes == 1 { "byte" } else { "bytes" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words() {
        let said = |rows, bytes, after_ms| Progress { rows, bytes, after_ms }.in_words();
        assert_eq!(said(1_200_000, 34_500_000, 5_000), "1,200,000 rows, 34.5 MB, 240,000 rows/s");
        assert_eq!(said(999, 0, 0), "999 rows, 999,000 rows/s");
        assert_eq!(said(1, 0, 1_000), "1 row, 1 row/s");
        assert_eq!(said(0, 2_000, 500), "2.0 kB, 4.0 kB/s");
        assert_eq!(said(0, 0, 500), "nothing yet");
    }
}
