//! What the gateway's own login could do at the brokers and should not: whoever took the login, or found a hole in the gateway,
//! could do it too.
//!
//! One request tells it, and changes nothing: brokers say of the cluster what the asker may do there (KIP-430).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use futures_lite::FutureExt;
use glommio::timer::sleep;
use kafka_protocol::messages::{ApiKey, DescribeClusterRequest};
use sluicegate_actors::vocabulary::Action;

use crate::buffers::{Budget, Pool};
use crate::config::BrokerLogin;
use crate::kafka::walk;
use crate::kafka::{self, Meaning};
use crate::limits;
use crate::path::upstream::{Upstream, UpstreamError};

/// DescribeCluster's key.
const DESCRIBE_CLUSTER: i16 = 60;

/// The version that has no other fields than are asked for, and that every broker with the API has.
const VERSION: i16 = 0;

/// Rights on the cluster that the gateway never needs, by Kafka's number of each, with what they are good for.
const UNWANTED: [(Action, u32, &str); 2] = [
    (Action::Alter, 7, "making ACLs and SCRAM users, and so logins and rights beside the gateway"),
    (
        Action::ClusterAction,
        9,
        "what brokers do: fetching as a replica, writing markers of transactions",
    ),
];

/// The bits of a broker that has no authorizer: everything that can be done to a cluster.
const EVERYTHING: i32 = 0b1_1111_1010_0000;

/// Logs in to a broker, and says in a sentence each what the login could do there and should not.
///
/// # Errors
///
/// [`UpstreamError`]: the broker cannot be asked; one older than 2.8 has no answer.
pub async fn login(address: SocketAddr, login: &BrokerLogin) -> Result<Vec<String>, UpstreamError> {
    let (pool, budget) = (Rc::<Pool>::default(), Rc::<Budget>::default());
    let asked = async {
        let mut upstream = Upstream::connect(address, login, pool, budget).await?;
        unwanted_rights(&mut upstream).await
    };
    let late = async {
        sleep(limits::UPSTREAM_LOGIN_MS_MAX).await;
        Err(UpstreamError::Socket(io::ErrorKind::TimedOut.into()))
    };
    asked.or(late).await
}

async fn unwanted_rights(upstream: &mut Upstream) -> Result<Vec<String>, UpstreamError> {
    let request =
        DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let body = upstream.ask(ApiKey::DescribeCluster, VERSION, &request).await?;
    Ok(operations(&body).map(told).unwrap_or_default())
}

fn operations(body: &[u8]) -> Option<i32> {
    let exchange = kafka::exchange(DESCRIBE_CLUSTER, VERSION)?;
    let frame = crate::cluster::reframed(body);
    let (_, start) = walk::response_header(exchange, &frame).ok()?;
    let mut found = kafka::found::Found::default();
    walk::response(exchange, &frame, start, &mut found).ok()?;
    i32::try_from(found.number(Meaning::AuthorizedOperations)?.value).ok()
}

fn told(operations: i32) -> Vec<String> {
    if operations & EVERYTHING == EVERYTHING {
        let text = "everything: the brokers have no authorizer, or it is a super user";
        return vec![text.to_owned()];
    }
    let is_there = |bit: u32| operations & 1_i32.wrapping_shl(bit) != 0;
    let there = UNWANTED.iter().filter(|(_, bit, _)| is_there(*bit));
    there
        .map(|(action, _, use_of_it)| format!("{} on the cluster: {use_of_it}", action.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_named() {
        let of = |bits: &[u32]| told(bits.iter().fold(0, |sum, bit| sum | 1 << bit));
        assert!(of(&[8, 10, 12]).is_empty());
        assert!(of(&[7, 8])[0].starts_with("Alter on the cluster"));
        assert_eq!(of(&[7, 8, 9]).len(), 2);
        assert!(of(&[5, 7, 8, 9, 10, 11, 12])[0].starts_with("everything"));
    }
}
