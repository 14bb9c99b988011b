//! `orch dags presets`: sets of params under a name.

use crate::app::Cx;
use crate::conf::ConfFlag;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{FormatFlag, Listing, moment};
use crate::session::Session;
use crate::{names, person};
use orch_store::audit::Deed;
use orch_store::preset::{
    KeepPreset, MOST_PRESETS, Preset, delete_preset, get_preset, keep_preset, list_presets, wrong_name,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// List the presets of a DAG: params that `orch dags trigger --preset` and the trigger form begin with
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags presets my_dag\n  \
    orch dags presets my_dag --save full --conf '{\"full\": true}'\n  orch dags presets my_dag --delete full")]
pub(crate) struct Presets {
    /// The DAG, by id or alias
    dag_id: String,
    /// Keep the conf under this name, in place of what has it
    #[arg(long, value_name = "NAME", conflicts_with = "delete")]
    save: Option<String>,
    #[command(flatten)]
    conf: ConfFlag,
    /// Delete the preset of this name
    #[arg(long, value_name = "NAME")]
    delete: Option<String>,
    #[command(flatten)]
    output: FormatFlag,
}

impl Presets {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let conf = self.conf.read()?;
        let mut session = cx.session().await?;
        let dag_id = names::dag_id(&mut session.db, &self.dag_id).await?;
        if let Some(name) = &self.save {
            let conf = conf.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            return save(&mut session, &dag_id, name, &conf).await;
        }
        if let Some(name) = &self.delete {
            find(&mut session.db, &dag_id, name).await?;
            delete_preset(&mut session.db, &dag_id, name).await?;
            did(&mut session, "delete_preset", &dag_id, name).await?;
            eprintln!("preset `{name}` is gone");
            return Ok(Exit::Done);
        }
        let empty = format!("no presets: keep one with `orch dags presets {dag_id} --save NAME --conf JSON`");
        let mut listing = Listing::new(["name", "conf", "created_by", "updated_at"], empty);
        for preset in list_presets(&mut session.db, &dag_id).await? {
            listing.add([json!(preset.name), preset.conf, json!(preset.created_by), moment(Some(preset.updated_at))]);
        }
        listing.print(self.output.format)
    }
}

async fn save(session: &mut Session, dag_id: &str, name: &str, conf: &Value) -> Outcome {
    if let Some(why) = wrong_name(name) {
        return Err(Failure::new(why));
    }
    match keep_preset(&mut session.db, (dag_id, name), conf, &person::name()).await? {
        KeepPreset::Kept => {}
        KeepPreset::NoSuchDag => return Err(names::no_such_dag(dag_id, None)),
        KeepPreset::TooMany => {
            return Err(Failure::new(format!("a dag has at most {MOST_PRESETS} presets")).hint("delete one first"));
        }
    }
    did(session, "keep_preset", dag_id, name).await?;
    eprintln!("preset `{name}` is kept: use it with `orch dags trigger {dag_id} --preset '{name}'`");
    Ok(Exit::Done)
}

async fn did(session: &mut Session, event: &str, dag_id: &str, name: &str) -> Result<(), Failure> {
    let extra = Some(json!({ "preset": name }));
    session.did(&Deed { event, dag_id: Some(dag_id), extra, ..Deed::default() }, &[]).await
}

pub(super) async fn find(db: &mut PgConnection, dag_id: &str, name: &str) -> Result<Preset, Failure> {
    let missing = || {
        Failure::new(format!("dag `{dag_id}` has no preset `{name}`"))
            .hint(format!("list them with `orch dags presets {dag_id}`"))
    };
    get_preset(db, dag_id, name).await?.ok_or_else(missing)
}
