//! The models that were fitted: each version is a file in the lake, and a row that says what it learnt from and how good it is.
//!
//! Nothing is replaced: the same data give the same version, other data another one. Only a good version is used.

use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::sources::filled;
use crate::common::nyc::table::{Table, computed, date, long, number, text};
use crate::taxi::forecast::known::Snapshots;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use chrono::{NaiveDate, TimeDelta};
use iceberg::spec::Transform::Identity;
use orch::prelude::*;
use orch_lake::Filter;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub const KIND: &str = "gradient_boosted_trees";
/// Of the hash of a model, in its version.
const HASH_DIGITS: usize = 12;

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is used.
    Good,
    /// What it was held against was better: it is kept and not used.
    WorseThanBaseline,
}

impl State {
    pub fn of(is_good: bool) -> State {
        if is_good { State::Good } else { State::WorseThanBaseline }
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Good => "good",
            State::WorseThanBaseline => "worse_than_baseline",
        }
    }
}

/// A version of a model.
#[derive(Debug)]
pub struct Version {
    pub name: &'static str,
    pub version: String,
    pub reference: NaiveDate,
    pub state: State,
    pub first_day: NaiveDate,
    pub held_out_from: NaiveDate,
    pub table: &'static str,
    pub snapshot: i64,
    /// Of all tables that were read, as JSON.
    pub training_snapshots: String,
    pub parameters: String,
    pub metrics: String,
    pub rows: i64,
    pub mase: f64,
    pub coverage: f64,
    pub mae: f64,
    pub baseline_mae: f64,
    pub artefact: String,
    pub sha256: String,
}

pub static MODELS: Table<Version> = Table {
    namespace: "ml",
    name: "models",
    key: &["name", "version"],
    partition: &[("name", Identity)],
    day: "reference_date",
    columns: &[
        text("name", |of| of.name),
        text("version", |of| &of.version),
        date("reference_date", |of| of.reference),
        computed("trained_at"),
        text("kind", |_| KIND),
        text("state", |of| of.state.name()),
        text("parameters", |of| &of.parameters),
        text("training_table", |of| of.table),
        long("training_snapshot_id", |of| of.snapshot),
        text("training_snapshots", |of| &of.training_snapshots),
        date("training_from", |of| of.first_day),
        date("held_out_from", |of| of.held_out_from),
        long("training_rows", |of| of.rows),
        number("mase", |of| of.mase),
        number("coverage", |of| of.coverage),
        number("mae", |of| of.mae),
        number("baseline_mae", |of| of.baseline_mae),
        text("metrics", |of| &of.metrics),
        text("artefact", |of| &of.artefact),
        text("artefact_sha256", |of| &of.sha256),
    ],
    chart: "select version, mase from ml.models where name = 'demand' order by trained_at desc limit 30",
};

/// The file of a version: a model, and what it learnt from.
#[derive(Debug, Serialize, Deserialize)]
struct Artefact<M> {
    name: String,
    kind: String,
    training_snapshots: Snapshots,
    model: M,
}

/// Where the file of a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    pub version: String,
    pub artefact: String,
    pub sha256: String,
}

/// Writes the file. Its name is told by what is in it, so that a task that is done again writes the same one.
///
/// # Errors
/// The lake cannot be written to.
pub(crate) async fn write<M: Serialize>(
    place: &Lakehouse,
    name: &str,
    reference: NaiveDate,
    snapshots: &Snapshots,
    model: M,
) -> TaskResult<ModelFile> {
    let (name_of, kind) = (name.to_owned(), KIND.to_owned());
    let artefact = Artefact { name: name_of, kind, training_snapshots: snapshots.clone(), model };
    let content = serde_json::to_vec(&artefact)?;
    let sha256 = hash(&content);
    let version = format!("{reference}-{}", &sha256[..HASH_DIGITS]);
    // Beside the folders of tables: what removes files that no table knows looks only there.
    let artefact = format!("{}/_models/{name}/{version}.json", place.lake.warehouse());
    let file = place.lake.io().new_output(&artefact)?;
    file.write(content.into()).await?;
    Ok(ModelFile { version, artefact, sha256 })
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// A version, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    pub version: String,
    pub reference: NaiveDate,
    trained_at: i64,
    is_good: bool,
    artefact: String,
    sha256: String,
}

/// All versions of a model that knew nothing after a day and read the features that are computed today: after an upgrade
/// that computes others, a model is fitted anew.
///
/// # Errors
/// The table cannot be read.
pub(crate) async fn versions(
    place: &Lakehouse,
    name: &str,
    features: &[&str],
    until: NaiveDate,
) -> TaskResult<Vec<ModelVersion>> {
    let Some(table) = filled(place, "ml.models").await? else { return Ok(Vec::new()) };
    // In the order of the table: columns of one type are given in the order of the file, whatever was asked for.
    let columns = ["version", "reference_date", "trained_at", "state", "parameters", "artefact", "artefact_sha256"];
    let later = (until + TimeDelta::days(1)).to_string();
    let filter = Filter::eq("name", name).and(Filter::lt("reference_date", later.as_str()));
    let found = |batch: &RecordBatch| {
        let [version, state, parameters, artefact, sha256] =
            [0, 3, 4, 5, 6].map(|at| batch.column(at).as_string::<i32>().clone());
        let reference = batch.column(1).as_primitive::<Date32Type>().clone();
        let trained_at = batch.column(2).as_primitive::<TimestampMicrosecondType>().clone();
        (0..batch.num_rows())
            .filter(|at| reads(parameters.value(*at), features))
            .filter_map(|at| {
                Some(ModelVersion {
                    version: version.value(at).into(),
                    reference: Date32Type::to_naive_date_opt(reference.value(at))?,
                    trained_at: trained_at.value(at),
                    is_good: state.value(at) == State::Good.name(),
                    artefact: artefact.value(at).into(),
                    sha256: sha256.value(at).into(),
                })
            })
            .collect::<Vec<_>>()
    };
    Ok(table.scan().columns(columns).filter(filter).collect().await?.iter().flat_map(found).collect())
}

/// Does a model with these parameters read exactly these features?
fn reads(parameters: &str, features: &[&str]) -> bool {
    let parameters: Value = serde_json::from_str(parameters).unwrap_or_default();
    parameters["features"] == json!(features)
}

/// The newest of all, whether it is good or not.
pub fn newest(versions: &[ModelVersion]) -> Option<&ModelVersion> {
    versions.iter().max_by_key(|of| (of.reference, of.trained_at, &of.version))
}

/// The one that is used: the newest of those that are good.
pub fn newest_good(versions: &[ModelVersion]) -> Option<&ModelVersion> {
    versions.iter().filter(|of| of.is_good).max_by_key(|of| (of.reference, of.trained_at, &of.version))
}

/// The model of a version.
///
/// # Errors
/// Its file is not there, or is not the one that was written.
pub(crate) async fn read<M: DeserializeOwned>(place: &Lakehouse, found: &ModelVersion) -> TaskResult<M> {
    let content = place.lake.io().new_input(&found.artefact)?.read().await?;
    if hash(&content) != found.sha256 {
        return Err(fatal(format!(
            "`{}` is not the file that was written for version {}",
            found.artefact, found.version
        )));
    }
    let artefact: Artefact<M> = serde_json::from_slice(&content)?;
    Ok(artefact.model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_good_version_is_used_and_a_bad_one_never() {
        let found = |version: &str, reference: &str, trained_at, is_good| ModelVersion {
            version: version.into(),
            reference: reference.parse().expect("a day"),
            trained_at,
            is_good,
            artefact: String::new(),
            sha256: String::new(),
        };
        let versions = [
            found("old", "2019-03-01", 9, true),
            found("again", "2019-03-08", 3, true),
            found("first", "2019-03-08", 2, true),
            found("bad", "2019-03-15", 4, false),
        ];
        let names = |of: Option<&ModelVersion>| of.map(|of| of.version.clone());
        assert_eq!(
            (names(newest(&versions)), names(newest_good(&versions))),
            (Some("bad".into()), Some("again".into()))
        );
        assert_eq!((newest(&[]), newest_good(&versions[3..])), (None, None));
    }

    #[test]
    fn a_model_of_other_features_is_none_of_todays() {
        let parameters = json!({ "features": ["hour", "usual"] }).to_string();
        assert!(reads(&parameters, &["hour", "usual"]));
        assert!(!reads(&parameters, &["usual", "hour"]) && !reads("{}", &["hour"]) && !reads("", &["hour"]));
    }
}
