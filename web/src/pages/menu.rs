//! The menu and the tools above it. They are separate templates, because the content of `base.html` is compiled into
//! each page.

use super::Shell;
use super::shell::User;
use crate::parts;
use askama::Template;
use askama::filters::HtmlSafe;
use orch_store::overview::Pulse;

/// An entry of the menu.
struct Entry {
    /// First path segment of the page.
    section: &'static str,
    label: &'static str,
    icon: &'static str,
    /// Position on a phone, whose menu bar does not fit all entries.
    on_phone: OnPhone,
}

#[derive(Clone, Copy, PartialEq)]
enum OnPhone {
    Bar,
    Sheet,
}

const fn entry(section: &'static str, label: &'static str, icon: &'static str, on_phone: OnPhone) -> Entry {
    Entry { section, label, icon, on_phone }
}

const MAIN: [Entry; 11] = [
    entry("", "Home", "home", OnPhone::Bar),
    entry("dags", "DAGs", "dag", OnPhone::Bar),
    entry("runs", "Runs", "runs", OnPhone::Bar),
    entry("approvals", "Approvals", "user", OnPhone::Bar),
    entry("assets", "Assets", "asset", OnPhone::Bar),
    entry("quality", "Quality", "check", OnPhone::Bar),
    entry("monitoring", "Monitoring", "clock", OnPhone::Sheet),
    entry("lake", "Lake", "lake", OnPhone::Bar),
    entry("dashboards", "Dashboards", "chart", OnPhone::Sheet),
    entry("streams", "Streams", "stream", OnPhone::Sheet),
    entry("topics", "Topics", "log", OnPhone::Sheet),
];

const ADMIN: [Entry; 8] = [
    entry("pools", "Pools", "group", OnPhone::Sheet),
    entry("connections", "Connections", "db", OnPhone::Sheet),
    entry("variables", "Variables", "key", OnPhone::Sheet),
    entry("workers", "Workers", "gear", OnPhone::Sheet),
    entry("backfills", "Backfills", "calendar", OnPhone::Sheet),
    entry("alerts", "Alerts", "hand", OnPhone::Sheet),
    entry("audit", "Audit log", "file", OnPhone::Sheet),
    entry("users", "Users", "user", OnPhone::Sheet),
];

impl Entry {
    fn is_current(&self, shell: &Shell) -> bool {
        let also = match self.section {
            "lake" => "sql",
            "topics" => "clusters",
            section => section,
        };
        shell.is_in(self.section) || shell.is_in(also)
    }

    fn is_shown(&self, shell: &Shell) -> bool {
        self.section != "users" || shell.can_manage()
    }

    /// Returns the number shown next to the entry. Runs and approvals have one only if it is not 0.
    fn count(&self, pulse: Option<&Pulse>) -> Option<Count> {
        let pulse = pulse?;
        let marked = |state, n: i64| (n > 0).then(|| Count { mark: Some(parts::mark(state)), n });
        match self.section {
            "dags" => Some(Count { mark: None, n: pulse.dags }),
            "workers" => Some(Count { mark: None, n: pulse.workers }),
            "runs" => marked("running", pulse.running_runs),
            "approvals" => marked("awaiting_input", pulse.asked),
            _ => None,
        }
    }
}

struct Count {
    mark: Option<parts::State>,
    n: i64,
}

#[derive(Template)]
#[template(path = "frame/menu.html")]
pub(crate) struct Menu<'a> {
    shell: &'a Shell,
}

#[derive(Template)]
#[template(path = "frame/tools.html")]
pub(crate) struct Tools<'a> {
    shell: &'a Shell,
    user: &'a User,
}

#[derive(Template)]
#[template(path = "frame/palette.html")]
pub(crate) struct Palette;

impl HtmlSafe for Menu<'_> {}
impl HtmlSafe for Tools<'_> {}
impl HtmlSafe for Palette {}

impl Menu<'_> {
    fn main(&self) -> impl Iterator<Item = &'static Entry> {
        MAIN.iter().filter(|entry| entry.is_shown(self.shell))
    }

    fn admin(&self) -> impl Iterator<Item = &'static Entry> {
        ADMIN.iter().filter(|entry| entry.is_shown(self.shell))
    }
}

impl Tools<'_> {
    /// Returns the entries that do not fit in the menu bar of a phone.
    fn sheet(&self) -> impl Iterator<Item = &'static Entry> {
        MAIN.iter().chain(&ADMIN).filter(|entry| entry.on_phone == OnPhone::Sheet && entry.is_shown(self.shell))
    }
}

impl Shell {
    pub(crate) fn menu(&self) -> Menu<'_> {
        Menu { shell: self }
    }

    pub(crate) fn palette() -> Palette {
        Palette
    }

    pub(crate) fn tools<'a>(&'a self, user: &'a User) -> Tools<'a> {
        Tools { shell: self, user }
    }
}
