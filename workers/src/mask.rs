//! Masks secrets in the output of this process. A secret is registered here before a task function receives it. From
//! then on, it is replaced with `***` in log lines, failure messages, and the process's own log.
//!
//! The process has a single masker, because a task function may print a secret that another one received. While no
//! secret is registered, the cost per line is one check of a flag.

use orch_sdk::secret::Masker;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Maximum number of secrets, to limit memory. Beyond it, secrets are dropped unless they were registered permanently.
const MOST_SECRETS: usize = 50_000;

static KNOWS_ANY: AtomicBool = AtomicBool::new(false);
static KNOWN: RwLock<Option<KnownSecrets>> = RwLock::new(None);

struct KnownSecrets {
    all: Arc<Masker>,
    /// Secrets of the process itself, which are never dropped: its password, its keys, and its environment variables.
    for_good: Masker,
}

/// Registers secrets, which are masked from now on.
pub fn learn<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) {
    let new: Vec<S> = secrets.into_iter().collect();
    let is_known = |masker: &Masker| new.iter().all(|secret| masker.knows(secret.as_ref()));
    if new.is_empty() || masker().is_some_and(|known| is_known(&known)) {
        return;
    }
    change(|known| {
        let all = if known.all.len() > MOST_SECRETS { &known.for_good } else { &*known.all };
        known.all = Arc::new(all.with(&new));
    });
}

/// Registers secrets permanently: they are masked as long as the process runs.
pub fn learn_for_good<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) {
    let new: Vec<S> = secrets.into_iter().collect();
    change(|known| {
        known.for_good = known.for_good.with(&new);
        known.all = Arc::new(known.all.with(&new));
    });
}

fn change(how: impl FnOnce(&mut KnownSecrets)) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_with(|| KnownSecrets { all: Arc::default(), for_good: Masker::default() });
    how(known);
    KNOWS_ANY.store(!known.all.is_empty(), Ordering::Release);
}

/// Returns the masker, or `None` if no secret is registered. The check costs nothing then.
pub fn masker() -> Option<Arc<Masker>> {
    if !KNOWS_ANY.load(Ordering::Acquire) {
        return None;
    }
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|known| known.all.clone())
}

/// Returns a text with its secrets masked.
pub fn mask(text: &str) -> Cow<'_, str> {
    match masker() {
        Some(masker) => match masker.mask(text) {
            Cow::Borrowed(text) => Cow::Borrowed(text),
            Cow::Owned(masked) => Cow::Owned(masked),
        },
        None => Cow::Borrowed(text),
    }
}
