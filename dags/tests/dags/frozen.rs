//! A worker is frozen with all of its streams, another worker takes them over, and the first one continues. No record
//! is lost or written twice, and no older row replaces a newer one.

mod kinds;

use crate::world::World;
use kinds::{Sources, all_streams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_test_support::rng::Rng;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[cfg(feature = "torture")]
const ROUNDS: usize = 20;
#[cfg(not(feature = "torture"))]
const ROUNDS: usize = 1;

/// Number of transactions per step of the sources.
const UPDATES: usize = 10;
/// Maximum number of transactions before a worker is frozen: about a second.
const MAX_UPDATES: usize = 60;

const TIMEOUT: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The epoch of each stream.
type Epochs = BTreeMap<String, i64>;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_writes_nothing_when_it_continues() {
    let seed = seed();
    let mut rng = Rng::new(seed);
    let mut world = World::new().await;
    let mut sources = Sources::start(&mut world).await;
    let mut holder = world.start_worker();
    let mut epochs = until_held(&world, &Epochs::new()).await;
    sources.until_copied(&world, "the snapshots").await;
    let mut stopped_at_work = 0;
    for round in 0..ROUNDS {
        sources.step(&world, UPDATES).await;
        // Streams commit every 300 ms, so the worker has read some of these changes and not written them yet.
        let updates = 1 + rng.below(MAX_UPDATES);
        let about = format!("seed {seed}, round {round}, frozen after {updates} updates");
        sources.update(updates).await;
        signal(holder, Signal::SIGSTOP);
        stopped_at_work += sources.captures_at_work().await;
        let next = world.start_worker();
        sources.step(&world, UPDATES).await;
        let taken = until_held(&world, &epochs).await;
        sources.step(&world, UPDATES).await;
        sources.until_copied(&world, &about).await;
        let before = world.said().len();
        signal(holder, Signal::SIGCONT);
        until_lost(&world, before, &epochs).await;
        // The topic has any record that the first worker wrote after it continued before these records.
        sources.step(&world, 0).await;
        sources.until_copied(&world, &format!("{about}, and continued")).await;
        world.kill(holder);
        (holder, epochs) = (next, taken);
    }
    assert!(stopped_at_work > 0, "seed {seed}: no capture was frozen while it produced");
}

#[cfg(feature = "torture")]
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(not(feature = "torture"))]
fn seed() -> u64 {
    7
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Waits until a worker has leased each stream under an epoch later than `before`.
async fn until_held(world: &World, before: &Epochs) -> Epochs {
    let (began, mut db) = (Instant::now(), world.db().await);
    loop {
        let leased = "select name, epoch from stream where bundle = 'streams-folder' and lease_until > now()";
        let leased: Vec<(String, i64)> = sqlx::query_as(leased).fetch_all(&mut db).await.unwrap();
        let epochs: Epochs =
            leased.into_iter().filter(|(name, epoch)| before.get(name).is_none_or(|old| epoch > old)).collect();
        let missing: Vec<_> = all_streams().filter(|name| !epochs.contains_key(name)).collect();
        if missing.is_empty() {
            return epochs;
        }
        assert!(began.elapsed() < TIMEOUT, "no worker takes {missing:?} over:\n{}", world.said());
        sleep(POLL_INTERVAL).await;
    }
}

/// Waits until the worker that held these epochs has reported, after the first `logged` bytes of the log, that it lost
/// each of them.
async fn until_lost(world: &World, logged: usize, epochs: &Epochs) {
    let began = Instant::now();
    loop {
        let said = world.said().split_off(logged);
        let is_lost = |(name, epoch): &(&String, &i64)| {
            let of_stream = |end: char| said.contains(&format!("stream=\"{name}\" epoch={epoch}{end}"));
            said.contains(&format!("name: \"{name}\", epoch: {epoch} ")) || of_stream(' ') || of_stream('\n')
        };
        let held: Vec<_> = epochs.iter().filter(|lease| !is_lost(lease)).collect();
        if held.is_empty() {
            return;
        }
        assert!(began.elapsed() < TIMEOUT, "the worker does not give {held:?} up:\n{said}");
        sleep(POLL_INTERVAL).await;
    }
}
