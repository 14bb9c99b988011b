//! The state of the bundle: a separate process with DAGs, tables and SQL, and with libraries that the server does not
//! contain.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use tokio::sync::watch::Receiver;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum BundleState {
    /// No bundle was found and none was configured.
    #[default]
    None,
    /// A bundle was configured but does not exist.
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
    /// The bundle exited and is being restarted.
    Ended {
        name: String,
        how: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) is_wrong: bool,
}

impl BundleState {
    /// Returns a notice, or `None` if the bundle is in order.
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

/// Returns a number that changes with the state of the bundle.
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
