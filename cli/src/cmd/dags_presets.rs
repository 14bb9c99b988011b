//! `orch dags presets`: named sets of params.

use crate::api::ListFlags;
use crate::cx::Cx;
use orch_binary::conf::ConfFlag;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{Listing, moment};
use orch_store::preset::wrong_name;
use serde_json::{Value, json};

/// List the presets of a DAG: params that `orch dags trigger --preset` and the trigger form begin with
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags presets my_dag\n  \
    orch dags presets my_dag --save full --conf '{\"full\": true}'\n  orch dags presets my_dag --delete full")]
pub(crate) struct Presets {
    /// The DAG, by id or alias
    dag_id: String,
    /// Keep the conf under this name, in place of what has it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["delete", "conditions", "order_by", "limit"])]
    save: Option<String>,
    #[command(flatten)]
    conf: ConfFlag,
    /// Delete the preset of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["conditions", "order_by", "limit"])]
    delete: Option<String>,
    #[command(flatten)]
    list: ListFlags,
}

impl Presets {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let conf = self.conf.read()?;
        let api = cx.api().await?;
        let dag_id = api.dag_id(&self.dag_id).await?;
        if let Some(name) = &self.save {
            if let Some(why) = wrong_name(name) {
                return Err(Failure::new(why));
            }
            let conf = conf.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            api.keep_preset(&dag_id, name, &conf).await?;
            eprintln!("preset `{name}` is kept: use it with `orch dags trigger {dag_id} --preset '{name}'`");
            return Ok(Exit::Done);
        }
        if let Some(name) = &self.delete {
            if !api.delete_preset(&dag_id, name).await? {
                return Err(no_such_preset(&dag_id, name));
            }
            eprintln!("preset `{name}` is gone");
            return Ok(Exit::Done);
        }
        let empty = format!("no presets: keep one with `orch dags presets {dag_id} --save NAME --conf JSON`");
        let mut listing = Listing::new(["name", "conf", "created_by", "updated_at"], empty);
        for preset in api.presets(&dag_id, &self.list.query()).await? {
            listing.add([json!(preset.name), preset.conf, json!(preset.created_by), moment(Some(preset.updated_at))]);
        }
        self.list.print(listing)
    }
}

pub(super) fn no_such_preset(dag_id: &str, name: &str) -> Failure {
    Failure::new(format!("dag `{dag_id}` has no preset `{name}`"))
        .hint(format!("list them with `orch dags presets {dag_id}`"))
}
