//! The tree of commands. Each is a file: what it takes, one call into the engine, what it prints.

mod alerts;
mod approvals;
mod assets_checks;
mod assets_events;
mod assets_list;
mod assets_materialize;
mod backfill_change;
mod backfill_create;
mod backfill_list;
mod completion;
mod config_list;
mod connections_add;
mod connections_delete;
mod connections_export;
mod connections_import;
mod connections_list;
mod connections_test;
mod cron_next;
mod dags_delete;
mod dags_details;
mod dags_export;
mod dags_list;
mod dags_list_import_errors;
mod dags_list_runs;
mod dags_next_execution;
mod dags_pause;
mod dags_presets;
mod dags_report;
mod dags_reserialize;
mod dags_show;
mod dags_show_dependencies;
mod dags_state;
mod dags_trigger;
mod dags_versions;
mod db_backup;
mod db_check;
mod db_clean;
mod db_migrate;
mod db_reset;
mod db_restore;
mod db_shell;
mod dev;
mod doctor;
mod info;
mod jobs_check;
mod kept;
mod new;
mod pools;
mod pools_transfer;
mod runs_cancel;
mod runs_deadlines;
mod runs_list;
mod runs_move;
mod runs_wait;
mod scheduler;
mod secrets_keys;
mod sql;
mod standalone;
mod tasks_clear;
mod tasks_list;
mod tasks_logs;
mod tasks_mark;
mod tasks_state;
mod tasks_states_for_dag_run;
mod tasks_why;
mod teams;
mod topics;
mod topics_produce;
mod topics_tail;
mod users_change;
mod users_create;
mod users_list;
mod variables_export;
mod variables_import;
mod variables_list;
mod variables_set;
mod version;
mod web;

use crate::cx::{Cx, block_on};
use orch_binary::cmd::{dags_test, tasks_test, worker};
use orch_binary::failure::Outcome;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    // Its options are those of every role.
    Standalone(Box<standalone::Standalone>),
    New(Box<new::New>),
    Dev(Box<dev::Dev>),
    Scheduler(scheduler::Scheduler),
    Worker(worker::Worker),
    Web(web::Web),
    /// DAGs: list, start, pause, look into
    #[command(subcommand, visible_alias = "dag", subcommand_required = true)]
    Dags(Dags),
    /// Tasks and their instances: states, logs, clear
    #[command(subcommand, visible_alias = "task")]
    Tasks(Tasks),
    /// Runs of DAGs: list, wait for, cancel
    #[command(subcommand, visible_alias = "run")]
    Runs(Runs),
    /// Pools: slots that tasks of all DAGs share
    #[command(subcommand, visible_alias = "pool")]
    Pools(Pools),
    /// Topics: logs of records that tasks append to and streams read
    #[command(subcommand, visible_alias = "topic")]
    Topics(Topics),
    /// Backfills: runs for dates that are past
    #[command(subcommand, visible_alias = "backfills")]
    Backfill(Backfill),
    /// Assets: what tasks update and DAGs wait for
    #[command(subcommand, visible_alias = "asset")]
    Assets(Assets),
    /// Alerts: who was told what, and who could not be told
    #[command(subcommand, visible_alias = "alert")]
    Alerts(Alerts),
    /// Approvals: what tasks ask people
    #[command(subcommand, visible_alias = "approval")]
    Approvals(Approvals),
    Sql(sql::Sql),
    /// Connections to what lies outside: add, list, export, import
    #[command(subcommand, visible_alias = "connection")]
    Connections(Connections),
    /// Variables: texts that tasks read by their key
    #[command(subcommand, visible_alias = "variable")]
    Variables(Variables),
    /// The keys that seal secrets in the database
    #[command(subcommand)]
    Secrets(Secrets),
    /// Users: who may log in, and what they may do
    #[command(subcommand, visible_alias = "user")]
    Users(Users),
    /// The database: create, upgrade and clean it, back it up
    #[command(subcommand)]
    Db(Db),
    /// Cron expressions
    #[command(subcommand)]
    Cron(Cron),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Processes of orch: whether they live
    #[command(subcommand, visible_alias = "job")]
    Jobs(Jobs),
    Teams(teams::Teams),
    Doctor(doctor::Doctor),
    Info(info::Info),
    Version(version::Version),
    Completion(completion::Completion),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Dags {
    List(dags_list::List),
    ListImportErrors(dags_list_import_errors::ListImportErrors),
    Report(dags_report::Report),
    Reserialize(dags_reserialize::Reserialize),
    Export(dags_export::Export),
    Schema(dags_export::Schema),
    Show(dags_show::Show),
    ShowDependencies(dags_show_dependencies::ShowDependencies),
    Details(dags_details::Details),
    Trigger(dags_trigger::Trigger),
    Pause(dags_pause::Pause),
    Unpause(dags_pause::Unpause),
    ListRuns(dags_list_runs::ListRuns),
    NextExecution(dags_next_execution::NextExecution),
    State(dags_state::State),
    Test(dags_test::Test),
    Delete(dags_delete::Delete),
    Backfill(backfill_create::DagsBackfill),
    Presets(dags_presets::Presets),
    Versions(dags_versions::Versions),
    Diff(dags_versions::Diff),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Tasks {
    List(tasks_list::List),
    State(tasks_state::State),
    StatesForDagRun(tasks_states_for_dag_run::StatesForDagRun),
    Clear(tasks_clear::Clear),
    Mark(tasks_mark::MarkTask),
    Cancel(tasks_mark::Cancel),
    Test(tasks_test::Test),
    Logs(tasks_logs::Logs),
    Why(tasks_why::Why),
    FailedDeps(tasks_why::FailedDeps),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Runs {
    List(runs_list::List),
    Deadlines(runs_deadlines::Deadlines),
    Wait(runs_wait::Wait),
    Cancel(runs_cancel::Cancel),
    Move(runs_move::Move),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Backfill {
    Create(Box<backfill_create::Create>),
    List(backfill_list::List),
    Show(backfill_list::Show),
    Pause(backfill_change::Pause),
    Unpause(backfill_change::Unpause),
    Cancel(backfill_change::Cancel),
    Wait(backfill_change::Wait),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Users {
    List(users_list::List),
    Create(users_create::Create),
    SetRole(users_change::SetRole),
    ResetPassword(users_change::ResetPassword),
    Disable(users_change::Disable),
    Enable(users_change::Enable),
    Delete(users_change::Delete),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Pools {
    List(pools::List),
    Get(pools::Get),
    Set(pools::Set),
    Delete(pools::Delete),
    Export(pools_transfer::Export),
    Import(pools_transfer::Import),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Topics {
    List(topics::List),
    Show(topics::Show),
    Create(topics::Create),
    Set(topics::Set),
    Delete(topics::Delete),
    Produce(topics_produce::Produce),
    Tail(topics_tail::Tail),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Assets {
    List(assets_list::List),
    Details(assets_list::Details),
    Materialize(assets_materialize::Materialize),
    Events(assets_events::Events),
    Emit(assets_events::Emit),
    Checks(assets_checks::Checks),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Alerts {
    List(alerts::List),
    Retry(alerts::Retry),
    Test(alerts::Test),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Approvals {
    List(approvals::List),
    Answer(approvals::Answer),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Connections {
    Add(Box<connections_add::Add>),
    List(connections_list::List),
    Get(connections_list::Get),
    Test(connections_test::Test),
    Delete(connections_delete::Delete),
    Export(connections_export::Export),
    Import(connections_import::Import),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Variables {
    Set(variables_set::Set),
    List(variables_list::List),
    Get(variables_list::Get),
    Delete(variables_set::Delete),
    Export(variables_export::Export),
    Import(variables_import::Import),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Secrets {
    GenerateKey(secrets_keys::GenerateKey),
    Rotate(secrets_keys::Rotate),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Db {
    Migrate(db_migrate::Migrate),
    Check(db_check::Check),
    Reset(db_reset::Reset),
    Backup(db_backup::Backup),
    Restore(db_restore::Restore),
    Clean(db_clean::Clean),
    ExportArchived(db_clean::ExportArchived),
    DropArchived(db_clean::DropArchived),
    Shell(db_shell::Shell),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Jobs {
    Check(jobs_check::Check),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Cron {
    Next(cron_next::Next),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigCommand {
    List(Box<config_list::List>),
    GetValue(config_list::GetValue),
}

impl Command {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        match self {
            Command::Standalone(standalone) => standalone.run(cx),
            Command::New(new) => new.run(),
            Command::Dev(dev) => dev.run(cx),
            Command::Scheduler(scheduler) => scheduler.run(cx),
            Command::Worker(worker) => worker.run(cx),
            Command::Web(web) => web.run(cx),
            Command::Dags(dags) => dags.run(cx),
            Command::Tasks(tasks) => tasks.run(cx),
            Command::Runs(runs) => runs.run(cx),
            Command::Pools(pools) => block_on(pools.run(cx)),
            Command::Topics(topics) => block_on(topics.run(cx)),
            Command::Alerts(alerts) => block_on(alerts.run(cx)),
            Command::Approvals(approvals) => block_on(approvals.run(cx)),
            Command::Backfill(backfill) => block_on(backfill.run(cx)),
            Command::Assets(assets) => block_on(assets.run(cx)),
            Command::Sql(sql) => sql.run(cx),
            Command::Connections(connections) => block_on(connections.run(cx)),
            Command::Variables(variables) => block_on(variables.run(cx)),
            Command::Secrets(Secrets::GenerateKey(_)) => secrets_keys::GenerateKey::run(),
            Command::Secrets(Secrets::Rotate(rotate)) => block_on(rotate.run(cx)),
            Command::Users(users) => users.run(cx),
            Command::Db(db) => block_on(db.run(cx)),
            Command::Jobs(Jobs::Check(check)) => block_on(check.run(cx)),
            Command::Teams(teams) => teams.run(),
            Command::Cron(Cron::Next(next)) => next.run(),
            Command::Config(ConfigCommand::List(list)) => list.run(cx),
            Command::Config(ConfigCommand::GetValue(get)) => get.run(cx),
            Command::Doctor(doctor) => block_on(doctor.run(cx)),
            Command::Info(info) => info.run(cx),
            Command::Version(_) => version::Version::run(),
            Command::Completion(completion) => completion.run(cx),
        }
    }
}

impl Db {
    async fn run(self, cx: &Cx) -> Outcome {
        // Before anything is asked of a person or of files.
        cx.config_of_database()?;
        match self {
            Db::Migrate(migrate) => migrate.run(cx).await,
            Db::Check(check) => check.run(cx).await,
            Db::Reset(reset) => reset.run(cx).await,
            Db::Backup(backup) => backup.run(cx).await,
            Db::Restore(restore) => restore.run(cx).await,
            Db::Clean(clean) => clean.run(cx).await,
            Db::ExportArchived(export) => export.run(cx).await,
            Db::DropArchived(drop) => drop.run(cx).await,
            Db::Shell(shell) => shell.run(cx).await,
        }
    }
}

impl Topics {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Topics::List(list) => list.run(cx).await,
            Topics::Show(show) => show.run(cx).await,
            Topics::Create(create) => create.run(cx).await,
            Topics::Set(set) => set.run(cx).await,
            Topics::Delete(delete) => delete.run(cx).await,
            Topics::Produce(produce) => produce.run(cx).await,
            Topics::Tail(tail) => tail.run(cx).await,
        }
    }
}

impl Pools {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Pools::List(list) => list.run(cx).await,
            Pools::Get(get) => get.run(cx).await,
            Pools::Set(set) => set.run(cx).await,
            Pools::Delete(delete) => delete.run(cx).await,
            Pools::Export(export) => export.run(cx).await,
            Pools::Import(import) => import.run(cx).await,
        }
    }
}

impl Backfill {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Backfill::Create(create) => create.run(cx).await,
            Backfill::List(list) => list.run(cx).await,
            Backfill::Show(show) => show.run(cx).await,
            Backfill::Pause(pause) => pause.run(cx).await,
            Backfill::Unpause(unpause) => unpause.run(cx).await,
            Backfill::Cancel(cancel) => cancel.run(cx).await,
            Backfill::Wait(wait) => wait.run(cx).await,
        }
    }
}

impl Assets {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Assets::List(list) => list.run(cx).await,
            Assets::Details(details) => details.run(cx).await,
            Assets::Materialize(materialize) => materialize.run(cx).await,
            Assets::Events(events) => events.run(cx).await,
            Assets::Emit(emit) => emit.run(cx).await,
            Assets::Checks(checks) => checks.run(cx).await,
        }
    }
}

impl Approvals {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Approvals::List(list) => list.run(cx).await,
            Approvals::Answer(answer) => answer.run(cx).await,
        }
    }
}

impl Alerts {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Alerts::List(list) => list.run(cx).await,
            Alerts::Retry(retry) => retry.run(cx).await,
            Alerts::Test(test) => test.run(cx).await,
        }
    }
}

impl Connections {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Connections::Add(add) => add.run(cx).await,
            Connections::List(list) => list.run(cx).await,
            Connections::Get(get) => get.run(cx).await,
            Connections::Test(test) => test.run(cx).await,
            Connections::Delete(delete) => delete.run(cx).await,
            Connections::Export(export) => export.run(cx).await,
            Connections::Import(import) => import.run(cx).await,
        }
    }
}

impl Variables {
    async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Variables::Set(set) => set.run(cx).await,
            Variables::List(list) => list.run(cx).await,
            Variables::Get(get) => get.run(cx).await,
            Variables::Delete(delete) => delete.run(cx).await,
            Variables::Export(export) => export.run(cx).await,
            Variables::Import(import) => import.run(cx).await,
        }
    }
}

impl Dags {
    fn run(self, cx: &Cx) -> Outcome {
        match self {
            Dags::List(list) => block_on(list.run(cx)),
            Dags::ListImportErrors(list) => block_on(list.run(cx)),
            Dags::Report(report) => report.run(cx),
            Dags::Reserialize(again) => block_on(again.run(cx)),
            Dags::Export(export) => block_on(export.run(cx)),
            Dags::Schema(_) => dags_export::Schema::run(),
            Dags::Show(show) => block_on(show.run(cx)),
            Dags::ShowDependencies(show) => block_on(show.run(cx)),
            Dags::Details(details) => block_on(details.run(cx)),
            Dags::Trigger(trigger) => block_on(trigger.run(cx)),
            Dags::Pause(pause) => block_on(pause.run(cx)),
            Dags::Unpause(unpause) => block_on(unpause.run(cx)),
            Dags::ListRuns(list) => block_on(list.run(cx)),
            Dags::NextExecution(next) => block_on(next.run(cx)),
            Dags::State(state) => block_on(state.run(cx)),
            Dags::Test(test) => test.run(cx),
            Dags::Delete(delete) => block_on(delete.run(cx)),
            Dags::Backfill(backfill) => block_on(backfill.run(cx)),
            Dags::Presets(presets) => block_on(presets.run(cx)),
            Dags::Versions(versions) => block_on(versions.run(cx)),
            Dags::Diff(diff) => block_on(diff.run(cx)),
        }
    }
}

impl Tasks {
    fn run(self, cx: &Cx) -> Outcome {
        match self {
            Tasks::List(list) => block_on(list.run(cx)),
            Tasks::State(state) => block_on(state.run(cx)),
            Tasks::StatesForDagRun(states) => block_on(states.run(cx)),
            Tasks::Clear(clear) => block_on(clear.run(cx)),
            Tasks::Mark(mark) => block_on(mark.run(cx)),
            Tasks::Cancel(cancel) => block_on(cancel.run(cx)),
            Tasks::Test(test) => block_on(test.run(cx)),
            Tasks::Logs(logs) => block_on(logs.run(cx)),
            Tasks::Why(why) => block_on(why.run(cx)),
            Tasks::FailedDeps(deps) => block_on(deps.run(cx)),
        }
    }
}

impl Runs {
    fn run(self, cx: &Cx) -> Outcome {
        match self {
            Runs::List(list) => block_on(list.run(cx)),
            Runs::Deadlines(deadlines) => block_on(deadlines.run(cx)),
            Runs::Wait(wait) => block_on(wait.run(cx)),
            Runs::Cancel(cancel) => block_on(cancel.run(cx)),
            Runs::Move(move_on) => block_on(move_on.run(cx)),
        }
    }
}

impl Users {
    fn run(self, cx: &Cx) -> Outcome {
        // Before a password is typed.
        cx.config_of_database()?;
        match self {
            Users::List(list) => block_on(list.run(cx)),
            Users::Create(create) => block_on(create.run(cx)),
            Users::SetRole(set_role) => block_on(set_role.run(cx)),
            Users::ResetPassword(reset) => block_on(reset.run(cx)),
            Users::Disable(disable) => block_on(disable.run(cx)),
            Users::Enable(enable) => block_on(enable.run(cx)),
            Users::Delete(delete) => block_on(delete.run(cx)),
        }
    }
}
