//! Routes of topics of the built-in log, and of streams.

use crate::api;
use crate::auth::Role;
use crate::openapi::queries::listed;
use crate::routes::{Access, Routes};
use Access::Login;
use orch_deeds::Topic;
use orch_store::stream;

pub(super) fn routes(routes: Routes) -> Routes {
    let viewer = Login(Role::Viewer);
    let user = Login(Role::User);
    let op = Login(Role::Op);
    let reads_records = Login(api::topics::READS_RECORDS);
    routes
        .group("Topics")
        .kept::<Topic>()
        .get("/api/orch/v1/topics/{topic_name}/partitions", viewer, api::topics::partitions)
        .does("Lists the partitions of a topic with their first and next offsets")
        .gives::<api::topics::TopicPartitionPage>()
        .get("/api/orch/v1/topics/{topic_name}/records", reads_records, api::topics::records)
        .does("Reads records of a partition, in the order of their offsets")
        .asks_for::<api::topics::RecordsParams>()
        .gives::<api::topics::RecordPage>()
        .post("/api/orch/v1/topics/{topic_name}/records", user, api::topics::produce)
        .does("Appends records: all of them, or none")
        .takes::<api::topics::RecordsBody>()
        .creates::<api::topics::PlacedPage>()
        .get("/api/orch/v1/connections/{connection_id}/topics", reads_records, api::clusters::list)
        .does("Lists the topics of a cluster that a connection leads to")
        .gives::<api::clusters::ClusterTopicPage>()
        .get(
            "/api/orch/v1/connections/{connection_id}/topics/{topic_name}/partitions",
            reads_records,
            api::clusters::partitions,
        )
        .does("Lists the partitions of a topic of a cluster with their first and next offsets")
        .gives::<api::topics::TopicPartitionPage>()
        .get(
            "/api/orch/v1/connections/{connection_id}/topics/{topic_name}/records",
            reads_records,
            api::clusters::records,
        )
        .does("Reads records of a partition of a topic of a cluster, in the order of their offsets")
        .asks_for::<api::topics::RecordsParams>()
        .gives::<api::topics::RecordPage>()
        .post(
            "/api/orch/v1/connections/{connection_id}/topics/{topic_name}/records",
            reads_records,
            api::clusters::produce,
        )
        .does("Appends records to a topic of a cluster; after an error some may be there")
        .takes::<api::topics::RecordsBody>()
        .creates::<api::topics::PlacedPage>()
        .get("/api/orch/v1/topic-readers", viewer, api::readers::list)
        .does("Lists how far tasks have read topics, partition by partition")
        .asks_for::<api::readers::ReadersParams>()
        .gives::<api::readers::ReaderPage>()
        .delete("/api/orch/v1/topic-readers/{reader_name}", op, api::readers::delete)
        .does("Forgets a reader: it begins as a new one")
        .gives_nothing()
        .post("/api/orch/v1/topic-readers/{reader_name}/seek", op, api::readers::seek)
        .does("Lets a reader go on from another place of its topic")
        .takes::<api::streams::SeekReaderBody>()
        .gives::<api::readers::ReaderPage>()
        .group("Streams")
        .get("/api/orch/v1/streams", viewer, api::streams::list)
        .does("Lists streams with their state and lag")
        .asks(listed(stream::by::ALL))
        .gives::<api::streams::StreamPage>()
        .get("/api/orch/v1/streams/{stream_name}", viewer, api::streams::get)
        .does("A stream with the offsets of its partitions")
        .gives::<api::streams::StreamDetails>()
        .delete("/api/orch/v1/streams/{stream_name}", op, api::streams::delete)
        .does("Forgets a stream that no bundle declares, and its offsets; its table stays")
        .gives_nothing()
        .get("/api/orch/v1/streams/{stream_name}/minutes", viewer, api::streams::minutes)
        .does("Records and lag of a stream, minute by minute")
        .asks_for::<api::streams::MinutesParams>()
        .gives::<api::streams::StreamMinutePage>()
        .post("/api/orch/v1/streams/{stream_name}/pause", op, api::streams::pause)
        .does("Pauses a stream")
        .gives::<api::streams::StreamView>()
        .post("/api/orch/v1/streams/{stream_name}/reset", op, api::streams::reset)
        .does("Lets a stream go on reading from another place of its topic")
        .takes::<api::streams::ResetStreamBody>()
        .gives::<api::streams::StreamView>()
        .post("/api/orch/v1/streams/{stream_name}/restart", op, api::streams::restart)
        .does("Begins a stream anew from its last commit, also one that failed")
        .gives::<api::streams::StreamView>()
        .post("/api/orch/v1/streams/{stream_name}/resume", op, api::streams::resume)
        .does("Lets a paused stream go on")
        .gives::<api::streams::StreamView>()
        .post("/api/orch/v1/streams/{stream_name}/skip", op, api::streams::skip)
        .does("Quarantines a record that a stream has not published yet, and restarts the stream")
        .takes::<api::streams::SkipRecordBody>()
        .gives::<api::streams::StreamView>()
        .post("/api/orch/v1/streams/{stream_name}/shares/{share}/restart", op, api::streams::restart_share)
        .does("Lets the process of one share of a stream go; another one reads on where it has ended")
        .gives::<api::streams::StreamView>()
        .get("/connectors", viewer, api::connectors::list)
        .one_of("expand", ["status", "info"])
        .get("/connectors/{stream_name}", viewer, api::connectors::get)
        .get("/connectors/{stream_name}/config", viewer, api::connectors::config)
        .put("/connectors/{stream_name}/pause", op, api::connectors::pause)
        .post("/connectors/{stream_name}/restart", op, api::connectors::restart)
        .one_of("includeTasks", ["true", "false"])
        .one_of("onlyFailed", ["true", "false"])
        .put("/connectors/{stream_name}/resume", op, api::connectors::resume)
        .get("/connectors/{stream_name}/status", viewer, api::connectors::status)
        .post("/connectors/{stream_name}/tasks/{task}/restart", op, api::connectors::restart_task)
        .get("/connectors/{stream_name}/topics", viewer, api::connectors::topics)
}
