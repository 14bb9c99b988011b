//! The tree of commands. Each command is a file: its arguments, one call to the engine or the API, and its output.

mod alerts;
mod announcements;
mod approvals;
mod assets_checks;
mod assets_events;
mod assets_list;
mod assets_materialize;
mod assets_quality;
mod backfill_change;
mod backfill_create;
mod backfill_list;
mod completion;
mod config_list;
mod connections;
mod connections_add;
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
mod lake;
mod new;
mod pools;
mod runs_cancel;
mod runs_deadlines;
mod runs_list;
mod runs_move;
mod runs_wait;
mod scheduler;
mod secrets_keys;
mod sql;
mod standalone;
mod streams;
mod tasks_clear;
mod tasks_list;
mod tasks_logs;
mod tasks_mark;
mod tasks_output;
mod tasks_state;
mod tasks_states_for_dag_run;
mod tasks_why;
mod teams;
mod top;
mod topics;
mod topics_produce;
mod topics_readers;
mod topics_tail;
mod users_change;
mod users_create;
mod users_create_token;
mod users_list;
mod users_tokens;
mod variables;
mod version;
mod web;

use crate::cx::{Cx, block_on};
use kept::DeleteKept;
use orch_binary::cmd::{dags_test, tasks_test, worker};
use orch_binary::failure::Outcome;
use orch_deeds::kept::{Announcement, Connection, Topic, Variable};

/// Defines a group of commands, each with its name and its arguments. Their `run` is async by default; `at_once` marks
/// commands that run without a runtime, and `alone` those that also need no settings.
macro_rules! family {
    ($name:ident { $($(#[$help:meta])* $command:ident($arguments:ty) $($how:ident)?,)+ }) => {
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum $name {
            $($(#[$help])* $command($arguments),)+
        }

        impl $name {
            fn run(self, cx: &Cx) -> Outcome {
                match self {
                    $($name::$command(command) => family!(@ command, $arguments, cx $(, $how)?),)+
                }
            }
        }
    };
    (@ $command:ident, $arguments:ty, $cx:ident) => {
        block_on($command.run($cx))
    };
    (@ $command:ident, $arguments:ty, $cx:ident, at_once) => {
        $command.run($cx)
    };
    (@ $command:ident, $arguments:ty, $cx:ident, alone) => {{
        let _: $arguments = $command;
        <$arguments>::run()
    }};
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    // Boxed, because it has the options of every role.
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
    /// Announcements: messages that the home page shows everyone
    #[command(subcommand, visible_alias = "announcement")]
    Announcements(Announcements),
    /// Topics: logs of records that tasks append to and streams read
    #[command(subcommand, visible_alias = "topic")]
    Topics(Topics),
    /// Streams: what reads topics into tables; pause, restart and move it
    #[command(subcommand, visible_alias = "stream")]
    Streams(Streams),
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
    /// The lake: its tables, and what keeps them fast and small
    #[command(subcommand)]
    Lake(Lake),
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
    Top(top::Top),
    Teams(teams::Teams),
    Doctor(doctor::Doctor),
    Info(info::Info),
    Version(version::Version),
    Completion(completion::Completion),
}

family!(Dags {
    List(dags_list::ListDags),
    ListImportErrors(dags_list_import_errors::ListImportErrors),
    Report(dags_report::Report) at_once,
    Reserialize(dags_reserialize::Reserialize),
    Export(dags_export::ExportDag),
    Schema(dags_export::Schema) alone,
    Show(dags_show::ShowDag),
    ShowDependencies(dags_show_dependencies::ShowDependencies),
    Details(dags_details::ShowDagDetails),
    Trigger(dags_trigger::Trigger),
    Pause(dags_pause::PauseDag),
    Unpause(dags_pause::UnpauseDag),
    ListRuns(dags_list_runs::ListRunsOfDag),
    NextExecution(dags_next_execution::NextExecution),
    State(dags_state::ShowRunState),
    Test(dags_test::TestDag) at_once,
    Delete(dags_delete::DeleteDag),
    Backfill(backfill_create::DagsBackfill),
    Presets(dags_presets::Presets),
    Versions(dags_versions::Versions),
    Diff(dags_versions::Diff),
});

family!(Tasks {
    List(tasks_list::ListTasks),
    State(tasks_state::ShowTaskState),
    StatesForDagRun(tasks_states_for_dag_run::StatesForDagRun),
    Clear(tasks_clear::Clear),
    Mark(tasks_mark::MarkTask),
    Cancel(tasks_mark::CancelTask),
    Test(tasks_test::TestTask),
    Logs(tasks_logs::Logs),
    Output(tasks_output::TaskOutput),
    Why(tasks_why::TasksWhy),
    FailedDeps(tasks_why::FailedDeps),
});

family!(Runs {
    List(runs_list::ListRuns),
    Deadlines(runs_deadlines::Deadlines),
    Wait(runs_wait::WaitForRun),
    Cancel(runs_cancel::CancelRun),
    Move(runs_move::Move),
});

family!(Backfill {
    Create(Box<backfill_create::CreateBackfill>),
    List(backfill_list::ListBackfills),
    Show(backfill_list::ShowBackfill),
    Pause(backfill_change::PauseBackfill),
    Unpause(backfill_change::UnpauseBackfill),
    Cancel(backfill_change::CancelBackfill),
    Wait(backfill_change::WaitForBackfill),
});

family!(Users {
    List(users_list::ListUsers),
    Create(users_create::CreateUser),
    SetRole(users_change::SetRole),
    ResetPassword(users_change::ResetPassword),
    Disable(users_change::DisableUser),
    Enable(users_change::EnableUser),
    Delete(users_change::DeleteUser),
    CreateToken(users_create_token::CreateToken),
    ListTokens(users_tokens::ListTokens),
    RevokeToken(users_tokens::RevokeToken),
});

family!(Pools {
    List(pools::ListPools),
    Get(pools::GetPool),
    Set(pools::SetPool),
    Delete(pools::DeletePool),
    Export(pools::ExportPools),
    Import(pools::ImportPools),
});

family!(Announcements {
    List(announcements::ListAnnouncements),
    Set(announcements::SetAnnouncement),
    /// Delete an announcement
    #[command(after_help = "Examples:\n  orch announcements delete maintenance")]
    Delete(DeleteKept<Announcement>),
});

family!(Topics {
    List(topics::ListTopics),
    Show(topics::ShowTopic),
    Create(topics::CreateTopic),
    Set(topics::SetTopic),
    /// Delete a topic with all its records
    #[command(after_help = "Examples:\n  orch topics delete weather")]
    Delete(DeleteKept<Topic>),
    Produce(topics_produce::Produce),
    Tail(topics_tail::Tail),
    Readers(topics_readers::Readers),
    Seek(topics_readers::Seek),
    Forget(topics_readers::Forget),
});

family!(Streams {
    List(streams::ListStreams),
    Show(streams::ShowStream),
    Pause(streams::PauseStream),
    Resume(streams::ResumeStream),
    Restart(streams::RestartStream),
    Reset(streams::ResetStream),
    Skip(streams::SkipRecord),
    Delete(streams::DeleteStream),
});

family!(Lake {
    Tables(lake::ListTables),
    Show(lake::ShowTable),
    Compact(lake::Compact),
    Merge(lake::Merge),
    Expire(lake::Expire),
    Orphans(lake::Orphans),
    Rollback(lake::Rollback),
    Adopt(lake::Adopt),
});

family!(Assets {
    List(assets_list::ListAssets),
    Details(assets_list::ShowAssetDetails),
    Materialize(assets_materialize::Materialize),
    Events(assets_events::Events),
    Emit(assets_events::Emit),
    Checks(assets_checks::Checks),
    Quality(assets_quality::Quality),
});

family!(Alerts {
    List(alerts::ListAlerts),
    Retry(alerts::RetryAlert),
    Test(alerts::TestAlert),
});

family!(Approvals {
    List(approvals::ListApprovals),
    Answer(approvals::AnswerApproval),
});

family!(Connections {
    Add(Box<connections_add::AddConnection>),
    List(connections::ListConnections),
    Get(connections::GetConnection),
    Test(connections_test::TestConnection),
    /// Delete a connection
    #[command(after_help = "Examples:\n  orch connections delete sales")]
    Delete(DeleteKept<Connection>),
    Export(connections::ExportConnections),
    Import(connections::ImportConnections),
});

family!(Variables {
    Set(variables::SetVariable),
    List(variables::ListVariables),
    Get(variables::GetVariable),
    /// Delete a variable
    #[command(after_help = "Examples:\n  orch variables delete limit")]
    Delete(DeleteKept<Variable>),
    Export(variables::ExportVariables),
    Import(variables::ImportVariables),
});

family!(Secrets {
    GenerateKey(secrets_keys::GenerateKey) alone,
    Rotate(secrets_keys::Rotate),
});

family!(Db {
    Migrate(db_migrate::Migrate),
    Check(db_check::CheckDatabase),
    Reset(db_reset::ResetDatabase),
    Backup(db_backup::Backup),
    Restore(db_restore::Restore),
    Clean(db_clean::Clean),
    ExportArchived(db_clean::ExportArchived),
    DropArchived(db_clean::DropArchived),
    Shell(db_shell::Shell),
});

family!(Jobs {
    Check(jobs_check::CheckJobs),
});

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Cron {
    Next(cron_next::CronNext),
}

family!(ConfigCommand {
    List(Box<config_list::ListSettings>) at_once,
    GetValue(config_list::GetValue) at_once,
});

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
            Command::Pools(pools) => pools.run(cx),
            Command::Announcements(announcements) => announcements.run(cx),
            Command::Topics(topics) => topics.run(cx),
            Command::Streams(streams) => streams.run(cx),
            Command::Alerts(alerts) => alerts.run(cx),
            Command::Approvals(approvals) => approvals.run(cx),
            Command::Backfill(backfill) => backfill.run(cx),
            Command::Assets(assets) => assets.run(cx),
            Command::Lake(lake) => lake.run(cx),
            Command::Sql(sql) => sql.run(cx),
            Command::Connections(connections) => connections.run(cx),
            Command::Variables(variables) => variables.run(cx),
            Command::Secrets(secrets) => secrets.run(cx),
            Command::Users(Users::List(list)) => block_on(list.run(cx)),
            // Fail without a database before the user types a password or answers questions.
            Command::Users(users) => cx.config_of_database().and_then(|_| users.run(cx)),
            Command::Db(db) => cx.config_of_database().and_then(|_| db.run(cx)),
            Command::Jobs(jobs) => jobs.run(cx),
            Command::Top(top) => block_on(top.run(cx)),
            Command::Teams(teams) => teams.run(),
            Command::Cron(Cron::Next(next)) => next.run(),
            Command::Config(config) => config.run(cx),
            Command::Doctor(doctor) => block_on(doctor.run(cx)),
            Command::Info(info) => info.run(cx),
            Command::Version(_) => version::Version::run(),
            Command::Completion(completion) => completion.run(cx),
        }
    }
}
