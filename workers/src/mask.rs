//! What this process knows as secret. Whoever hands a secret to a body teaches it here first; from then on it is `***`
//! in whatever goes out: lines of logs, causes of failures, the process's own log.
//!
//! One for the process: bodies share it, and what one of them was given another may say. Until something is known,
//! a line costs one look at a flag.

use orch_sdk::secret::Masker;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Memory has an end: beyond so many what was known is forgotten, but for what was learned for good.
const MOST_SECRETS: usize = 50_000;

static KNOWS_ANY: AtomicBool = AtomicBool::new(false);
static KNOWN: RwLock<Option<KnownSecrets>> = RwLock::new(None);

struct KnownSecrets {
    all: Arc<Masker>,
    /// Of the process itself: its password, its keys, what its environment holds.
    for_good: Masker,
}

/// From now on these are masked.
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

/// The same for what belongs to the process as long as it lives.
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

/// `None`: nothing is secret, and asking cost nothing.
pub fn masker() -> Option<Arc<Masker>> {
    if !KNOWS_ANY.load(Ordering::Acquire) {
        return None;
    }
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|known| known.all.clone())
}

/// A text without what is secret.
pub fn mask(text: &str) -> Cow<'_, str> {
    match masker() {
        Some(masker) => match masker.mask(text) {
            Cow::Borrowed(text) => Cow::Borrowed(text),
            Cow::Owned(masked) => Cow::Owned(masked),
        },
        None => Cow::Borrowed(text),
    }
}
