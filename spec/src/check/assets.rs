//! Checks assets: valid names, one URI per name, valid freshness times, conditions that are not empty.

use super::{Checked, MAX_DURATION_MS};
use crate::asset::valid_name;
use crate::{Asset, AssetRef};
use std::collections::BTreeMap;

/// Maximum number of assets in one condition, because it is evaluated under a lock.
const MAX_ASSETS: usize = 1_000;

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    if let Some(condition) = spec.schedule.assets() {
        if condition.has_empty_list() {
            dag.about_dag("it waits for assets but names none", "name them: `on_assets([asset(\"…\")])`");
        }
        if condition.leaves().len() > MAX_ASSETS {
            let hint = "let a task that runs after all of them update one asset";
            dag.about_dag(format!("it waits for more than {MAX_ASSETS} assets"), hint);
        }
    }
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (_, _, mention) in spec.asset_mentions() {
        match mention {
            AssetRef::Asset(asset) => {
                words(dag, &asset);
                let name = asset.name().to_string();
                let first = names.entry(name).or_insert_with(|| asset.uri.clone()).clone();
                if first != asset.uri {
                    let message = format!("`{first}` and `{}` are both called `{}`", asset.uri, asset.name());
                    dag.about_dag(message, "give one of the two assets another name");
                }
            }
            AssetRef::Alias(name) if !valid_name(&name) => {
                dag.about_dag(format!("an alias of assets cannot be called {name:?}"), NAME_HINT);
            }
            AssetRef::Alias(_) => {}
        }
    }
}

const NAME_HINT: &str = "write 1 to 1500 bytes that can be seen, for example `lake://gold/sales`";

fn words(dag: &mut Checked<'_>, asset: &Asset) {
    let group = asset.group.as_deref();
    for text in [Some(asset.uri.as_str()), asset.name.as_deref(), group].into_iter().flatten() {
        if !valid_name(text) {
            dag.about_dag(format!("an asset, or its group, cannot be called {text:?}"), NAME_HINT);
        }
    }
    if asset.fresh_within_ms.is_some_and(|ms| ms == 0 || ms > MAX_DURATION_MS) {
        let message = format!("asset `{}` cannot be fresh within that time", asset.name());
        dag.about_dag(message, "give a time between 1 ms and ten years, or leave it out");
    }
}
