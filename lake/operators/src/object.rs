//! Waits for objects of a bucket.

use crate::rows::ObjectLocation;
use orch::wait::read;
use orch::{Awaited, BoxFuture, Condition, ConditionResult, Deferral, Eyes, Wait, fatal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The objects to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectWait {
    /// The key may be a pattern.
    pub place: ObjectLocation,
    /// Minimum number of objects.
    #[serde(default = "one")]
    pub least: usize,
    /// Minimum size of an object. Smaller objects are ignored.
    #[serde(default)]
    pub min_bytes: u64,
}

fn one() -> usize {
    1
}

/// Waits until an object exists at the key or matches the pattern. Returns the locations, in order.
pub fn bucket_object(place: ObjectLocation) -> ObjectWait {
    ObjectWait { place, least: one(), min_bytes: 0 }
}

impl ObjectWait {
    const KIND: &'static str = "bucket_object";

    /// Sets the minimum number of matching objects.
    #[must_use]
    pub fn least(mut self, objects: usize) -> ObjectWait {
        self.least = objects;
        self
    }

    /// Sets the minimum size. Smaller objects are ignored.
    #[must_use]
    pub fn min_bytes(mut self, bytes: u64) -> ObjectWait {
        self.min_bytes = bytes;
        self
    }
}

impl Wait for ObjectWait {
    fn awaited(self) -> Awaited {
        Awaited::new(Self::KIND, self)
    }
}

impl From<ObjectWait> for Deferral {
    fn from(wait: ObjectWait) -> Deferral {
        Deferral::from(wait.awaited())
    }
}

/// The condition that polls for objects. A DAG that waits for one needs `dag("…").condition(BucketObjects)`.
#[derive(Debug, Clone, Copy)]
pub struct BucketObjects;

impl Condition for BucketObjects {
    fn kind(&self) -> &'static str {
        ObjectWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        read::<ObjectWait>(config).map(drop)
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        Box::pin(async move {
            let wait: ObjectWait = read(&config).map_err(fatal)?;
            let bucket = wait.place.bucket_of(&eyes.connection(&wait.place.connection).await?)?;
            let found = match bucket.fitting(&wait.place.key).await {
                Ok(found) => found,
                // A bucket that does not exist yet has no objects.
                Err(orch_lake::bucket::Error::NotFound { .. }) => Vec::new(),
                Err(error) if error.is_fatal() => return Err(fatal(error.to_string())),
                Err(error) => return Err(error.into()),
            };
            let fit: Vec<String> = found
                .iter()
                .filter(|entry| entry.bytes >= wait.min_bytes)
                .map(|entry| bucket.location(&entry.key))
                .collect();
            Ok((fit.len() >= wait.least.max(1)).then(|| json!(fit)))
        })
    }
}
