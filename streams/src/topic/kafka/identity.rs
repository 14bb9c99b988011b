//! Identity of a topic: Kafka assigns a unique id to each topic that is created, even if its name was used before.
//!
//! The crate `rdkafka` has no safe API for `DescribeTopics`, hence the unsafe code. Some objects of librdkafka belong
//! to the response event; the others must be freed by the caller and are wrapped in an `Owned`.

#![expect(unsafe_code, reason = "calls of librdkafka without a safe form")]

use super::client::Consumer;
use super::{ANSWER_WITHIN, unless_unknown};
use anyhow::Context as _;
use orch_sdk::task::TaskResult;
use rdkafka::bindings as native;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

/// Topic id that clusters before Kafka 2.8 return: all zeros in base64.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Returns the identity of a topic, or `None` if the topic does not exist. In clusters without topic ids, the identity
/// is the name, and a topic that was deleted and created again can only be detected by missing offsets.
pub(super) fn identity(consumer: &Consumer, topic: &str) -> TaskResult<Option<String>> {
    let cluster =
        consumer.client().fetch_cluster_id(ANSWER_WITHIN).context("Kafka did not tell the id of the cluster")?;
    Ok(match topic_id(consumer, topic)? {
        Id::NoSuchTopic => None,
        Id::None => Some(format!("kafka/{cluster}/{topic}")),
        Id::Some(id) => Some(format!("kafka/{cluster}/{topic}/{id}")),
    })
}

enum Id {
    Some(String),
    None,
    NoSuchTopic,
}

/// An object of librdkafka that the caller must free. Freed on drop.
struct Owned<T> {
    pointer: NonNull<T>,
    give_back: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(pointer: *mut T, give_back: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
        Some(Owned { pointer: NonNull::new(pointer)?, give_back })
    }

    fn get(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is not null, comes from the call that `give_back` reverses, and is freed only here.
        unsafe { (self.give_back)(self.pointer.as_ptr()) };
    }
}

fn topic_id(consumer: &Consumer, topic: &str) -> TaskResult<Id> {
    let name = CString::new(topic).context("the name of a topic has a NUL")?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    let client = consumer.client().native_ptr();
    let milliseconds = i32::try_from(ANSWER_WITHIN.as_millis()).unwrap_or(i32::MAX);
    let memory = "librdkafka has no memory left";
    // SAFETY: `client` lives as long as `consumer`; `names` holds one string, which librdkafka copies; `options`,
    // `names` and `queue` are used only while their owners live, and the response while `event` lives.
    unsafe {
        let queue = Owned::new(native::rd_kafka_queue_new(client), native::rd_kafka_queue_destroy).context(memory)?;
        let options =
            native::rd_kafka_AdminOptions_new(client, native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let options = Owned::new(options, native::rd_kafka_AdminOptions_destroy).context(memory)?;
        let set =
            native::rd_kafka_AdminOptions_set_request_timeout(options.get(), milliseconds, std::ptr::null_mut(), 0);
        check(set)?;
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let topics = Owned::new(topics, native::rd_kafka_TopicCollection_destroy).context(memory)?;
        native::rd_kafka_DescribeTopics(client, topics.get(), options.get(), queue.get());
        // The request has its own timeout, but librdkafka reports it slightly late, so wait longer than the timeout.
        let event = native::rd_kafka_queue_poll(queue.get(), milliseconds.saturating_mul(2));
        let event =
            Owned::new(event, native::rd_kafka_event_destroy).context("Kafka did not describe the topic in time")?;
        match native::rd_kafka_event_error(event.get()) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE => return Ok(Id::None),
            error => check(error)?,
        }
        let mut count = 0;
        let answer = native::rd_kafka_event_DescribeTopics_result(event.get());
        anyhow::ensure!(!answer.is_null(), "Kafka described no topic");
        let described = native::rd_kafka_DescribeTopics_result_topics(answer, &raw mut count);
        anyhow::ensure!(count == 1 && !described.is_null(), "Kafka described {count} topics instead of one");
        let described = *described;
        let error = native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(described));
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(unless_unknown(error.into())?.unwrap_or(Id::NoSuchTopic));
        }
        let id = native::rd_kafka_Uuid_base64str(native::rd_kafka_TopicDescription_topic_id(described));
        anyhow::ensure!(!id.is_null(), "{memory}");
        let id = CStr::from_ptr(id).to_string_lossy().into_owned();
        Ok(if id == NO_ID { Id::None } else { Id::Some(id) })
    }
}

fn check(error: RDKafkaRespErr) -> TaskResult<()> {
    match error {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(RDKafkaErrorCode::from(error).into()),
    }
}
