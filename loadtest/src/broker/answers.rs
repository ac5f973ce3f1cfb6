//! The null broker's answers to everything but Fetch.

use std::sync::atomic::Ordering;

use anyhow::bail;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, DescribeClusterRequest,
    DescribeClusterResponse, FetchRequest, InitProducerIdRequest, InitProducerIdResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, ProducerId, ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::fetch::END_OFFSET;
use super::{Broker, NODE_ID, topic_id};
use crate::requests::topic_name;

/// Its only node.
const NODE: BrokerId = BrokerId(NODE_ID);

/// What it speaks: key and versions. Produce begins at 0 because librdkafka turns codecs off otherwise.
const VERSIONS: [(i16, i16, i16); 9] = [
    (ProduceRequest::KEY, 0, 13),
    (FetchRequest::KEY, 4, 18),
    (ListOffsetsRequest::KEY, 1, 10),
    (MetadataRequest::KEY, 0, 13),
    (SaslHandshakeRequest::KEY, 0, 1),
    (ApiVersionsRequest::KEY, 0, 4),
    (InitProducerIdRequest::KEY, 0, 5),
    (SaslAuthenticateRequest::KEY, 0, 2),
    (DescribeClusterRequest::KEY, 0, 2),
];

impl Broker {
    /// Appends the answer to a request, header included; says `false` where the request wants none.
    ///
    /// # Errors
    /// Where it does not speak the API or version, or cannot read the request.
    pub(super) fn answer_to(
        &self,
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        request: &mut Bytes,
        answer: &mut BytesMut,
    ) -> anyhow::Result<bool> {
        let to = &mut Answer { version, correlation_id, bytes: answer };
        match api {
            ApiKey::ApiVersions if version > 4 => {
                // In version 0, so that any client can read which versions there are (KIP-511).
                to.version = 0;
                to.write(&versions().with_error_code(35))?;
            }
            ApiKey::ApiVersions => {
                ApiVersionsRequest::decode(request, version)?;
                to.write(&versions())?;
            }
            ApiKey::Metadata => {
                to.write(&self.metadata(&MetadataRequest::decode(request, version)?))?;
            }
            ApiKey::DescribeCluster => {
                let request = DescribeClusterRequest::decode(request, version)?;
                to.write(&self.cluster(&request))?;
            }
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(request, version)?;
                to.write(&self.list_offsets(version, &request))?;
            }
            ApiKey::InitProducerId => {
                InitProducerIdRequest::decode(request, version)?;
                let id = self.next_producer_id.fetch_add(1, Ordering::Relaxed);
                to.write(&InitProducerIdResponse::default().with_producer_id(ProducerId(id)))?;
            }
            ApiKey::SaslHandshake => {
                let mechanism = SaslHandshakeRequest::decode(request, version)?.mechanism;
                to.write(&SaslHandshakeResponse::default().with_mechanisms(vec![mechanism]))?;
            }
            ApiKey::SaslAuthenticate => {
                SaslAuthenticateRequest::decode(request, version)?;
                to.write(&SaslAuthenticateResponse::default())?;
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(request, version)?;
                if request.acks == 0 {
                    return Ok(false);
                }
                to.write(&self.produce(&request))?;
            }
            _ => bail!("API {api:?} version {version} is not spoken here"),
        }
        Ok(true)
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let wanted: Vec<Option<&str>> = match &request.topics {
            None => self.contents.topics.iter().map(|topic| Some(topic.as_str())).collect(),
            Some(topics) => topics
                .iter()
                .map(|topic| {
                    self.topic(topic.name.as_ref().map_or("", |name| name), topic.topic_id)
                })
                .collect(),
        };
        let asked = request.topics.as_deref().unwrap_or_default();
        let topics = wanted.into_iter().enumerate().map(|(index, found)| match found {
            Some(topic) => self.metadata_of(topic),
            None => MetadataResponseTopic::default()
                .with_error_code(3)
                .with_name(asked.get(index).and_then(|topic| topic.name.clone())),
        });
        let broker = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(self.host())
            .with_port(self.port());
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(StrBytes::from_static_str("null")))
            .with_controller_id(NODE)
            .with_topics(topics.collect())
    }

    fn metadata_of(&self, topic: &str) -> MetadataResponseTopic {
        let partitions = (0..self.contents.partitions).map(|index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(NODE)
                .with_leader_epoch(0)
                .with_replica_nodes(vec![NODE])
                .with_isr_nodes(vec![NODE])
        });
        MetadataResponseTopic::default()
            .with_name(Some(topic_name(topic)))
            .with_topic_id(topic_id(topic))
            .with_partitions(partitions.collect())
    }

    fn cluster(&self, request: &DescribeClusterRequest) -> DescribeClusterResponse {
        let broker = DescribeClusterBroker::default()
            .with_broker_id(NODE)
            .with_host(self.host())
            .with_port(self.port());
        DescribeClusterResponse::default()
            .with_endpoint_type(request.endpoint_type)
            .with_cluster_id(StrBytes::from_static_str("null"))
            .with_controller_id(NODE)
            .with_brokers(vec![broker])
    }

    /// Begins at 0 and never ends: the end is an offset that no run reaches.
    fn list_offsets(&self, version: i16, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let known = self.topic(&topic.name, uuid::Uuid::nil()).is_some();
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
                if !known || !self.holds(index) {
                    return answer.with_error_code(3);
                }
                let offset = if partition.timestamp == -1 { END_OFFSET } else { 0 };
                // Below version 4 the field does not exist, and only its default can be written.
                let epoch = if version < 4 { -1 } else { 0 };
                answer.with_offset(offset).with_leader_epoch(epoch)
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn produce(&self, request: &ProduceRequest) -> ProduceResponse {
        let topics = request.topic_data.iter().map(|topic| {
            let known = self.topic(&topic.name, topic.topic_id).is_some();
            let partitions = topic.partition_data.iter().map(|data| {
                let answer = PartitionProduceResponse::default().with_index(data.index);
                if !known || !self.holds(data.index) {
                    return answer.with_error_code(3).with_base_offset(-1);
                }
                let count = data.records.as_ref().map_or(0, records_in);
                answer.with_base_offset(self.take_offsets(count)).with_log_start_offset(0)
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions.collect())
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    fn host(&self) -> StrBytes {
        StrBytes::from_string(self.contents.advertised.ip().to_string())
    }

    fn port(&self) -> i32 {
        i32::from(self.contents.advertised.port())
    }
}

struct Answer<'a> {
    version: i16,
    correlation_id: i32,
    bytes: &'a mut BytesMut,
}

impl Answer<'_> {
    fn write<R: Encodable + HeaderVersion>(&mut self, response: &R) -> anyhow::Result<()> {
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        header.encode(self.bytes, R::header_version(self.version))?;
        response.encode(self.bytes, self.version)
    }
}

fn versions() -> ApiVersionsResponse {
    let keys = VERSIONS.iter().map(|(key, min, max)| {
        ApiVersion::default().with_api_key(*key).with_min_version(*min).with_max_version(*max)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

/// The number of records in a batch, from its header; 0 where it has none.
fn records_in(batch: &Bytes) -> i64 {
    let count = batch.get(57..61).and_then(|bytes| bytes.try_into().ok());
    count.map_or(0, |bytes| i64::from(i32::from_be_bytes(bytes)))
}
