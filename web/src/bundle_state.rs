//! The bundle beside this server: a process with DAGs, tables and SQL whose libraries the server does not have.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use tokio::sync::watch::Receiver;

/// How it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum BundleState {
    /// None is there, and none was named.
    #[default]
    None,
    /// It was named, and is not there.
    Missing {
        path: String,
    },
    Building {
        name: String,
        percent: u8,
    },
    Starting {
        name: String,
    },
    AtWork,
    /// It ended by itself, and is started again.
    Ended {
        name: String,
        how: String,
    },
}

/// What a page says of it: what is so, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) is_wrong: bool,
}

impl BundleState {
    /// Nothing while all is well.
    pub(crate) fn notice(&self) -> Option<Notice> {
        let wait = "Its DAGs, tables and SQL appear here by themselves.";
        let (title, text, is_wrong) = match self {
            BundleState::None | BundleState::AtWork => return None,
            BundleState::Missing { path } => {
                let text =
                    format!("There is no file {path}. Build it with make build, or name another one with ORCH_BUNDLE.");
                ("The pipelines are missing".into(), text, true)
            }
            BundleState::Building { name, percent } => (format!("{name}: building, {percent} %"), wait.into(), false),
            BundleState::Starting { name } => (format!("{name}: starting"), wait.into(), false),
            BundleState::Ended { name, how } => {
                let text =
                    format!("{how}. It is started again, and its tasks with it; the log of the server says why.");
                (format!("{name} ended"), text, true)
            }
        };
        Some(Notice { title, text, is_wrong })
    }
}

/// Another number when the bundle is in another state.
pub(crate) fn mark_of(bundle: Option<&Receiver<BundleState>>) -> i64 {
    let Some(bundle) = bundle else { return 0 };
    let mut hasher = DefaultHasher::new();
    bundle.borrow().hash(&mut hasher);
    hasher.finish().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_at_work_needs_no_notice() {
        for state in [BundleState::None, BundleState::AtWork] {
            assert_eq!(state.notice(), None);
        }
        let building = BundleState::Building { name: "orch-pipelines".into(), percent: 61 };
        let notice = building.notice().expect("it is not there yet");
        assert_eq!((notice.title.as_str(), notice.is_wrong), ("orch-pipelines: building, 61 %", false));
        let ended = BundleState::Ended { name: "orch-pipelines".into(), how: "it ended by itself (signal: 9)".into() };
        assert!(ended.notice().is_some_and(|notice| notice.is_wrong && notice.text.contains("signal: 9")));
    }
}
