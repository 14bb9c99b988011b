//! Passwords: hashed with argon2id. A login takes the same time whether or not the user exists.

use crate::refusal::Refusal;
use crate::{WebError, WebResult};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use axum::http::StatusCode;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Maximum number of concurrent hashes. Each takes 19 MiB and about 20 ms of a CPU, so more would let unauthenticated
/// clients exhaust the machine.
const HASHES_AT_ONCE: usize = 2;
/// Maximum number of waiting logins, about a second of work. More are rejected, because unauthenticated clients can
/// send any number of them.
const MOST_WAITING: usize = 64;
/// Maximum length of a password.
const MOST_BYTES: usize = 1_024;
const FEWEST_CHARS: usize = 8;
/// The most common leaked passwords of at least eight characters, in lower case.
const COMMON: &str = include_str!("common_passwords.txt");

/// A plaintext password. It is not printed in logs.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    pub fn new(words: impl Into<String>) -> Password {
        Password(words.into())
    }

    /// Returns a random password of 20 letters and digits.
    pub fn random() -> Password {
        const LETTERS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        // A v4 UUID has 122 random bits; ten letters use 59 of them.
        let ten = |mut bits: u128| {
            std::iter::from_fn(move || {
                let letter = LETTERS[(bits % 58) as usize];
                bits /= 58;
                Some(char::from(letter))
            })
            .take(10)
        };
        let bits = || Uuid::new_v4().as_u128() & ((1 << 62) - 1);
        Password(ten(bits()).chain(ten(bits())).collect())
    }

    /// Returns the plaintext, which is shown once to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Rejects passwords that are too short or that attackers try first.
    pub fn check(&self, user: &str) -> Result<(), &'static str> {
        let plain = self.0.to_lowercase();
        match self.0.chars().count() {
            ..FEWEST_CHARS => Err("a password has at least 8 characters"),
            _ if self.0.len() > MOST_BYTES => Err("a password has at most 1024 bytes"),
            _ if self.0.chars().all(char::is_whitespace) => Err("a password has characters other than white space"),
            _ if self.0.contains('\0') => Err("a password holds no NUL character"),
            _ if COMMON.lines().any(|common| common == plain) => {
                Err("this password is one of the most common ones, which are tried first: choose another one")
            }
            _ if !user.is_empty() && (plain == user.to_lowercase() || plain == user.to_lowercase().repeat(2)) => {
                Err("the password is the name of its user: choose another one")
            }
            _ => Ok(()),
        }
    }

    /// Returns a hash with a new salt, in the format of `api_user`.
    pub(crate) fn hash(&self) -> WebResult<String> {
        let hash: PasswordHash = Argon2::default().hash_password(self.0.as_bytes()).map_err(WebError::Hash)?;
        Ok(hash.to_string())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

pub(crate) fn verify(password: &Password, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    password.0.len() <= MOST_BYTES && Argon2::default().verify_password(password.0.as_bytes(), &hash).is_ok()
}

/// Compares and hashes passwords on blocking threads, with limited concurrency.
#[derive(Debug)]
pub(crate) struct Hasher {
    slots: Arc<Semaphore>,
    /// Limits the queue, which includes the logins that are being compared.
    queue: Arc<Semaphore>,
    /// Hash of a random password, which is compared if the user does not exist.
    nobody: OnceCell<String>,
}

impl Default for Hasher {
    fn default() -> Self {
        let of = |places| Arc::new(Semaphore::new(places));
        Hasher { slots: of(HASHES_AT_ONCE), queue: of(HASHES_AT_ONCE + MOST_WAITING), nobody: OnceCell::new() }
    }
}

impl Hasher {
    /// Returns whether the password matches the hash. Without a hash, returns false after the same amount of work.
    pub(crate) async fn matches(&self, password: Password, hash: Option<String>) -> Result<bool, Refusal> {
        let nobody = self.nobody.get_or_try_init(|| in_background(|| Password::random().hash())).await?;
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| nobody.clone());
        let turn = self.turn().await?;
        let compare = move || {
            let right = verify(&password, &hash);
            drop(turn);
            Ok(right)
        };
        let right = in_background(compare).await?;
        Ok(right && known)
    }

    /// Waits for a slot, or fails if the queue is full. The work holds the permits until it finishes, even if its
    /// caller disconnects.
    async fn turn(&self) -> Result<[OwnedSemaphorePermit; 2], Refusal> {
        let place = self.queue.clone().try_acquire_owned().map_err(|_| Refusal::Later {
            status: StatusCode::SERVICE_UNAVAILABLE,
            text: "too many logins at the moment: try again".into(),
        })?;
        let slot =
            self.slots.clone().acquire_owned().await.map_err(|_| Refusal::Broken("hashing has stopped".into()))?;
        Ok([place, slot])
    }

    pub(crate) async fn hash(&self, password: Password) -> Result<String, Refusal> {
        let turn = self.turn().await?;
        let hash = move || {
            let hash = password.hash();
            drop(turn);
            hash
        };
        in_background(hash).await
    }
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> WebResult<T> + Send + 'static) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::Broken(format!("hashing a password failed: {error}")))?
        .map_err(|error| Refusal::Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let password = Password::random();
        let hash = password.hash().expect("it hashes");
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert!(verify(&password, &hash));
        assert!(!verify(&Password::new("other"), &hash) && !verify(&password, "no hash"));
        assert_ne!(hash, password.hash().expect("it hashes"), "the salt is new each time");
    }

    #[tokio::test]
    async fn an_unknown_user_costs_the_same_work() {
        let hasher = Hasher::default();
        let hash = Password::new("canary-5f1c2e").hash().expect("it hashes");
        assert!(!hasher.matches(Password::new("wrong"), None).await.expect("a turn is free"));
        let nobody = hasher.nobody.get().expect("it was compared with");
        // The fields are algorithm, version, memory, rounds and lanes. The salt follows.
        let cost = |hash: &str| hash.split('$').take(4).map(String::from).collect::<Vec<_>>();
        assert_eq!(cost(nobody), cost(&hash));

        let [one, other] = [hasher.turn().await.expect("a turn is free"), hasher.turn().await.expect("a turn is free")];
        let mut unknown = std::pin::pin!(hasher.matches(Password::new("wrong"), None));
        assert!(futures::poll!(&mut unknown).is_pending(), "an unknown user waits for a turn too");
        drop((one, other));
        assert!(!unknown.await.expect("a turn is free"));
    }

    #[tokio::test]
    async fn logins_that_come_all_at_once_are_asked_to_come_back() {
        let hasher = Hasher::default();
        let hash = Password::new("canary-5f1c2e").hash().expect("it hashes");
        let all = (0..200).map(|_| hasher.matches(Password::new("wrong"), Some(hash.clone())));
        let ended = futures::future::join_all(all).await;
        let later = ended
            .iter()
            .filter(|one| matches!(one, Err(Refusal::Later { status: StatusCode::SERVICE_UNAVAILABLE, .. })));
        let compared = ended.iter().filter(|one| matches!(one, Ok(false)));
        let (compared, later) = (compared.count(), later.count());
        assert!(compared >= 66 && later > 0 && compared + later == 200, "{compared} {later}");
        assert!(hasher.matches(Password::new("canary-5f1c2e"), Some(hash)).await.expect("the queue is empty again"));
    }

    #[test]
    fn passwords_that_are_tried_first_are_refused() {
        let refused = |password: &str| Password::new(password).check("Ada.Lovelace").is_err();
        for password in ["short", "password", "PassWord123", "12345678", "qwertyuiop", "changeme", "ada.lovelace"] {
            assert!(refused(password), "{password}");
        }
        assert!(refused(&" ".repeat(8)) && refused("\t \u{3000}\n\u{a0}   "), "only white space");
        assert!(!refused("correct horse battery staple") && !refused("canary-5f1c2e") && !refused("       7"));
        assert!(
            COMMON.lines().all(|one| one.len() >= FEWEST_CHARS && one == one.to_lowercase()),
            "shorter ones are refused"
        );
    }

    #[test]
    fn passwords_are_random_and_never_shown() {
        let (one, other) = (Password::random(), Password::random());
        assert_eq!(one.reveal().len(), 20);
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(format!("{one:?}"), "Password(***)");
    }
}
