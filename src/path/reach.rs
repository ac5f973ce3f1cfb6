//! Brokers that fail are tried again at a pace: clients that come back all at once must not become a storm of connects.
//!
//! A broker that fails is one that cannot be connected to, or that ends a connection before it has answered anything on
//! it. While it fails, one connection after another may try; whoever waits for its turn while another tries and fails has
//! failed too. The first answer ends the pace.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use glommio::timer::sleep;

use crate::life::Life;
use crate::{clock, limits};

/// The brokers that fail, as one shard sees them.
#[derive(Debug, Default)]
pub struct Reach {
    failing: RefCell<BTreeMap<SocketAddr, Rest>>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    /// When the next connect may be tried.
    until: Instant,
    failures: u64,
}

/// What becomes of a connect now.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Try,
    Wait(std::time::Duration),
    Failed,
}

impl Reach {
    /// Waits until this connection may try to connect; false where others have tried meanwhile and failed, or where the
    /// connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the turn to another.
    pub async fn turn(&self, address: SocketAddr, life: &Life) -> bool {
        let seen = self.failing.borrow().get(&address).map(|rest| rest.failures);
        loop {
            if life.has_ended() {
                return false;
            }
            match self.look(address, seen, clock::monotonic()) {
                Turn::Try => return true,
                Turn::Failed => return false,
                Turn::Wait(rest) => sleep(rest).await,
            }
        }
    }

    fn look(&self, address: SocketAddr, seen: Option<u64>, now: Instant) -> Turn {
        let mut failing = self.failing.borrow_mut();
        let Some(rest) = failing.get_mut(&address) else { return Turn::Try };
        if seen != Some(rest.failures) {
            return Turn::Failed;
        }
        if now < rest.until {
            return Turn::Wait(rest.until.saturating_duration_since(now));
        }
        rest.until = now + limits::CONNECT_REST;
        Turn::Try
    }

    /// A connect failed, or the connection ended without an answer.
    pub fn failed(&self, address: SocketAddr) {
        let now = clock::monotonic();
        let mut failing = self.failing.borrow_mut();
        failing
            .retain(|_, rest| now.saturating_duration_since(rest.until) < limits::CONNECT_MEMORY);
        let rest = failing.entry(address).or_insert(Rest { until: now, failures: 0 });
        rest.until = rest.until.max(now + limits::CONNECT_REST);
        rest.failures = rest.failures.saturating_add(1);
    }

    /// The broker answered.
    pub fn answered(&self, address: SocketAddr) {
        self.failing.borrow_mut().remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_tries_at_a_time_and_who_waited_fails_with_it() {
        let reach = Reach::default();
        let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, 9092));
        let now = clock::monotonic();
        assert_eq!(reach.look(broker, None, now), Turn::Try);
        assert_eq!(reach.look(broker, None, now), Turn::Try, "a broker in good health");
        reach.failed(broker);
        assert_eq!(reach.look(broker, None, now), Turn::Failed, "it waited for the first");
        assert!(matches!(reach.look(broker, Some(1), now), Turn::Wait(_)));
        let later = now + limits::CONNECT_REST + limits::CONNECT_REST;
        assert_eq!(reach.look(broker, Some(1), later), Turn::Try);
        assert!(matches!(reach.look(broker, Some(1), later), Turn::Wait(_)), "one at a time");
        reach.failed(broker);
        assert_eq!(reach.look(broker, Some(1), later), Turn::Failed);
        reach.answered(broker);
        assert_eq!(reach.look(broker, Some(2), now), Turn::Try);
    }
}
