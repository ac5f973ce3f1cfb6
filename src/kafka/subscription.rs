//! What members of a classic group tell each other through the broker, which reads none of it: the topics of the consumer
//! protocol (KIP-429, `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`, versions 0 to 3).
//!
//! ```text
//! subscription  version  topics  user data  owned topics (1+)  generation, rack (2+, 3+)
//! assignment    version  topics with partitions  user data
//! ```

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::kafka::wire::{Form, Reader, WireError, put_bytes, put_count, put_string};

/// The protocol type of groups whose members are consumers.
pub const CONSUMER: &str = "consumer";

/// What of a member's bytes may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    All,
    /// These instead.
    Some(Vec<u8>),
    /// They are nothing of the consumer protocol.
    Unreadable,
}

/// Which of the two messages a member's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// What it subscribes to, told to the group's leader.
    Subscription,
    /// What it is assigned, told by the leader.
    Assignment,
}

/// Takes out the topics that `sees` says no to. The user data of an assignor, which may name them too, goes with them.
#[must_use]
pub fn shown(told: Told, bytes: &[u8], mut sees: impl FnMut(&str) -> bool) -> Shown {
    if bytes.is_empty() {
        return Shown::All;
    }
    let Ok(message) = Message::read(told, bytes) else { return Shown::Unreadable };
    let hidden = |topic: &(&str, &[u8])| !sees(topic.0);
    if !message.topics.iter().chain(&message.owned).any(hidden) {
        return Shown::All;
    }
    Shown::Some(message.without(sees))
}

/// A message in parts; what stands behind a topic's name goes with it as it is.
struct Message<'a> {
    version: i16,
    topics: Vec<(&'a str, &'a [u8])>,
    /// Of a subscription from version 1 on.
    owned: Vec<(&'a str, &'a [u8])>,
    has_owned: bool,
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(told: Told, bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let version = reader.int16()?;
        let topics = topic_list(&mut reader, bytes, told == Told::Assignment)?;
        reader.bytes(FORM)?;
        let has_owned = told == Told::Subscription && version >= 1 && reader.remaining() > 0;
        let owned = if has_owned { topic_list(&mut reader, bytes, true)? } else { Vec::new() };
        let rest = reader.take(reader.remaining())?;
        Ok(Self { version, topics, owned, has_owned, rest })
    }

    fn without(&self, mut sees: impl FnMut(&str) -> bool) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        put_topics(&mut out, &self.topics, &mut sees);
        put_bytes(&mut out, FORM, None);
        if self.has_owned {
            put_topics(&mut out, &self.owned, &mut sees);
        }
        out.extend_from_slice(self.rest);
        out
    }
}

/// Topics, with their partitions where they have them.
fn topic_list<'a>(
    reader: &mut Reader<'a>,
    bytes: &'a [u8],
    have_partitions: bool,
) -> Result<Vec<(&'a str, &'a [u8])>, WireError> {
    let count = reader.count(FORM)?.unwrap_or_default();
    let mut topics = Vec::new();
    for _ in 0..count {
        let name = reader.string(FORM)?.1.unwrap_or_default();
        let start = reader.position();
        if have_partitions {
            let partitions = reader.count(FORM)?.unwrap_or_default();
            reader.skip(partitions.saturating_mul(size_of::<i32>()))?;
        }
        let behind = bytes.get(start..reader.position()).unwrap_or_default();
        topics.push((name, behind));
    }
    Ok(topics)
}

fn put_topics(out: &mut Vec<u8>, topics: &[(&str, &[u8])], sees: &mut impl FnMut(&str) -> bool) {
    let kept: Vec<_> = topics.iter().filter(|(name, _)| sees(name)).collect();
    put_count(out, FORM, Some(kept.len()));
    for (name, behind) in kept {
        put_string(out, FORM, Some(name));
        out.extend_from_slice(behind);
    }
}

/// The consumer protocol has no compact forms.
const FORM: Form = Form::Classic;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::consumer_protocol_assignment as assignment;
    use kafka_protocol::messages::consumer_protocol_subscription as subscription;
    use kafka_protocol::messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName,
    };
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;
    use crate::kafka::oracle::decode;

    fn name(name: &str) -> TopicName {
        TopicName(StrBytes::from_string(name.to_owned()))
    }

    fn subscription(
        topics: &[&str],
        owned: &[&str],
        user_data: Option<Bytes>,
        version: i16,
    ) -> ConsumerProtocolSubscription {
        let topics = topics.iter().map(|topic| StrBytes::from_string((*topic).to_owned()));
        let owned = owned.iter().map(|topic| {
            subscription::TopicPartition::default()
                .with_topic(name(topic))
                .with_partitions(vec![1, 2])
        });
        let mut message = ConsumerProtocolSubscription::default()
            .with_topics(topics.collect())
            .with_user_data(user_data);
        if version >= 1 {
            message.owned_partitions = owned.collect();
        }
        if version >= 2 {
            message.generation_id = 7;
        }
        if version >= 3 {
            message.rack_id = Some(StrBytes::from_static_str("rack"));
        }
        message
    }

    fn bytes_of(message: &impl Encodable, version: i16) -> Vec<u8> {
        let mut out = version.to_be_bytes().to_vec();
        message.encode(&mut out, version).unwrap();
        out
    }

    #[test]
    fn subscriptions_show_what_is_seen() {
        let user_data = Some(Bytes::from_static(b"secret"));
        for version in 0..=3 {
            let told =
                subscription(&["a", "secret", "b"], &["secret", "b"], user_data.clone(), version);
            let bytes = bytes_of(&told, version);
            assert_eq!(shown(Told::Subscription, &bytes, |_| true), Shown::All);
            let seen = shown(Told::Subscription, &bytes, |topic| topic != "secret");
            let Shown::Some(seen) = seen else { panic!("{seen:?}") };
            assert_eq!(seen[..2], version.to_be_bytes());
            let seen: ConsumerProtocolSubscription = decode(&seen[2..], version).unwrap();
            assert_eq!(seen, subscription(&["a", "b"], &["b"], None, version));
        }
    }

    #[test]
    fn assignments_show_what_is_seen() {
        let assigned = |topics: &[&str]| {
            let topics = topics.iter().map(|topic| {
                assignment::TopicPartition::default()
                    .with_topic(name(topic))
                    .with_partitions(vec![3])
            });
            ConsumerProtocolAssignment::default().with_assigned_partitions(topics.collect())
        };
        for version in 0..=3 {
            let bytes = bytes_of(&assigned(&["secret", "a"]), version);
            assert_eq!(shown(Told::Assignment, &bytes, |_| true), Shown::All);
            let seen = shown(Told::Assignment, &bytes, |topic| topic != "secret");
            assert_eq!(seen, Shown::Some(bytes_of(&assigned(&["a"]), version)));
        }
    }

    #[test]
    fn what_is_cut_anywhere_is_unreadable_or_shows_nothing_hidden() {
        let told = subscription(&["secret"], &["secret"], None, 3);
        let bytes = bytes_of(&told, 3);
        for cut in 1..bytes.len() {
            let seen = shown(Told::Subscription, &bytes[..cut], |topic| topic != "secret");
            if let Shown::Some(seen) = seen {
                assert!(!seen.windows(6).any(|window| window == b"secret"), "{cut}: {seen:?}");
                continue;
            }
            assert_eq!(seen, Shown::Unreadable, "{cut}");
        }
        assert_eq!(shown(Told::Subscription, &[], |_| false), Shown::All);
        // A count that the bytes cannot hold costs nothing.
        let bomb = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1, b'a'];
        assert_eq!(shown(Told::Subscription, &bomb, |_| true), Shown::Unreadable);
    }
}
