//! Fitted models. Each version is a file in the lake, and a row that records its training data and its quality.
//!
//! Versions are never replaced: the same data results in the same version. Only a good version is used.

use super::known::Snapshots;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::sources::{collect, filled};
use crate::common::nyc::table::{batch_of, row, structs_of};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use iceberg::spec::Transform::Identity;
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::frame::sql::query_rows;
use orch_lake::publish::{Layer, Publisher};
use orch_lake::{Filter, Locations, TableSpec};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub const KIND: &str = "gradient_boosted_trees";
const GOOD: &str = "good";
/// Number of hash digits in a version.
const HASH_DIGITS: usize = 12;

/// Returns the value of the column `state`. A version that is worse than its baseline is kept, but not used.
pub fn state_of(is_good: bool) -> String {
    if is_good { GOOD } else { "worse_than_baseline" }.into()
}

row! {
    /// A version of a model.
    #[derive(Default)]
    pub Version {
        name: String, version: String, reference_date: NaiveDate, trained_at: DateTime<Utc>, kind: String, state: String,
        parameters: String, training_table: String, training_snapshot_id: i64, training_snapshots: String,
        training_from: NaiveDate, held_out_from: NaiveDate, training_rows: i64, mase: f64, coverage: f64, mae: f64,
        baseline_mae: f64, metrics: String, artefact: String, artefact_sha256: String,
    }
}

pub const MODELS: TableSpec = TableSpec::new("ml", "models", &["name", "version"], Version::COLUMNS)
    .partition(&[("name", Identity)])
    .chart("select version, mase from ml.models where name = 'demand' order by trained_at desc limit 30");

/// Publishes a version. Fails if its row breaks the contract.
pub(crate) async fn add(ctx: &Ctx, place: &Lakehouse, version: Version) -> TaskResult<()> {
    let mut publisher = Publisher::new(ctx, &place.lake).await?;
    let contract = MODELS.contract().rules([
        ("coverage", "coverage BETWEEN 0 AND 1"),
        ("error", "mae >= 0"),
        ("training rows", "training_rows >= 1"),
    ]);
    let name = Filter::eq("name", version.name.as_str());
    let rows = Batches::from(batch_of(&MODELS, &[version])?);
    publisher.add(Layer::new(&MODELS, rows).contract(contract).upserting(name)).await?;
    publisher.publish().map(drop)
}

/// File of a version: a model, and a description of its training data.
#[derive(Debug, Serialize, Deserialize)]
struct Artefact<M> {
    name: String,
    kind: String,
    training_snapshots: Snapshots,
    model: M,
}

/// Writes the file of a model, and returns its row; the caller adds the quality of the model. The file name contains a
/// hash of the content, so a repeated task writes the same file. `table` is the table that the model was trained on.
pub(crate) async fn write<M: Serialize>(
    place: &Lakehouse,
    name: &str,
    reference_date: NaiveDate,
    table: &str,
    snapshots: &Snapshots,
    model: M,
) -> TaskResult<Version> {
    let training_snapshots = snapshots.clone();
    let artefact = Artefact { name: name.to_owned(), kind: KIND.to_owned(), training_snapshots, model };
    let content = serde_json::to_vec(&artefact)?;
    let artefact_sha256 = hash(&content);
    let version = format!("{reference_date}-{}", &artefact_sha256[..HASH_DIGITS]);
    // Outside the table folders, because orphaned files in them are deleted.
    let artefact = format!("{}/_models/{name}/{version}.json", place.lake.warehouse());
    place.lake.io().new_output(&artefact)?.write(content.into()).await?;
    Ok(Version {
        name: name.to_owned(),
        version,
        reference_date,
        trained_at: place.now().await?,
        kind: KIND.to_owned(),
        training_table: table.to_owned(),
        training_snapshot_id: snapshots.get(table).copied().unwrap_or_default(),
        training_snapshots: serde_json::to_string(snapshots)?,
        artefact,
        artefact_sha256,
        ..Version::default()
    })
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Columns of `ml.models` that select and locate a version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ModelVersion {
    pub version: String,
    pub reference_date: NaiveDate,
    state: String,
    parameters: String,
    artefact: String,
    artefact_sha256: String,
}

/// Returns the versions of a model with a reference date up to `until`, newest last. Excludes versions that read other
/// features than the current ones: after an upgrade that changes the features, a new model is fitted.
pub(crate) async fn versions(
    place: &Lakehouse,
    name: &str,
    features: &[&str],
    until: NaiveDate,
) -> TaskResult<Vec<ModelVersion>> {
    let Some(table) = filled(place, "ml.models").await? else { return Ok(Vec::new()) };
    let columns = ["version", "reference_date", "trained_at", "state", "parameters", "artefact", "artefact_sha256"];
    let later = (until + TimeDelta::days(1)).to_string();
    let filter = Filter::eq("name", name).and(Filter::lt("reference_date", later.as_str()));
    let rows = collect(table.scan().columns(columns).filter(filter)).await?;
    let sorted = "SELECT version, reference_date, state, parameters, artefact, artefact_sha256 FROM rows \
                  ORDER BY reference_date, trained_at, version";
    let mut versions: Vec<ModelVersion> = structs_of(query_rows(&[rows], sorted)?)?;
    versions.retain(|version| reads(&version.parameters, features));
    Ok(versions)
}

/// Returns true if a model with these parameters reads exactly these features.
fn reads(parameters: &str, features: &[&str]) -> bool {
    let parameters: Value = serde_json::from_str(parameters).unwrap_or_default();
    parameters["features"] == json!(features)
}

/// Reads the newest good model of these [`versions`], and returns it with its version; `None` if no version is good.
///
/// # Errors
/// Returns an error if the table cannot be read, or the file of the version is missing or was changed.
pub(crate) async fn read_newest_good<M: DeserializeOwned>(
    place: &Lakehouse,
    name: &str,
    features: &[&str],
    until: NaiveDate,
) -> TaskResult<Option<(String, M)>> {
    let versions = versions(place, name, features, until).await?;
    let newest = versions.into_iter().rfind(|version| version.state == GOOD);
    let Some(ModelVersion { version, artefact, artefact_sha256, .. }) = newest else { return Ok(None) };
    if !Locations::new([place.lake.warehouse()]).admits(&artefact) {
        return Err(fatal(format!(
            "`{artefact}` of version {version} is outside of the warehouse\nhint: delete the row of `ml.models`"
        )));
    }
    let content = place.lake.io().new_input(&artefact)?.read().await?;
    if hash(&content) != artefact_sha256 {
        return Err(fatal(format!(
            "`{artefact}` is not the file that was written for version {version}\n\
             hint: restore it, or delete the row of `ml.models`"
        )));
    }
    let artefact: Artefact<M> = serde_json::from_slice(&content)?;
    Ok(Some((version, artefact.model)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_of_other_features_is_not_used() {
        let parameters = json!({ "features": ["hour", "usual"] }).to_string();
        assert!(reads(&parameters, &["hour", "usual"]));
        assert!(!reads(&parameters, &["usual", "hour"]) && !reads("{}", &["hour"]) && !reads("", &["hour"]));
    }
}
