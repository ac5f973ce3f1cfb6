//! Who is turned away at the door: connections beyond the limits that a listener sets, before anything is read of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::ConnectionLimits;
use crate::limits;

/// How often the log says how many were turned away, and how often addresses that are gone are forgotten.
const EVERY: Duration = Duration::from_secs(1);

/// A connection's place among those of its address; dropping it gives it back, on whatever shard.
#[derive(Debug)]
pub struct Place {
    _counted: Arc<()>,
}

/// The door of one listener, all of its ports together.
#[derive(Debug)]
pub struct Gate {
    listener: String,
    limits: ConnectionLimits,
    all: Pace,
    addresses: HashMap<IpAddr, Visits>,
    cleaned: Option<Instant>,
    refused: u64,
    told: Option<Instant>,
}

/// What is known of one address.
#[derive(Debug, Default)]
struct Visits {
    /// Each open connection holds one share of it.
    open: Arc<()>,
    pace: Pace,
}

/// So many in a second, and no more than a second's worth at once (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// When all that was taken will have been worth its time.
    settled: Option<Instant>,
}

impl Gate {
    /// The door of a listener.
    #[must_use]
    pub fn new(listener: &str, limits: ConnectionLimits) -> Self {
        Self {
            listener: listener.to_owned(),
            limits,
            all: Pace::default(),
            addresses: HashMap::new(),
            cleaned: None,
            refused: 0,
            told: None,
        }
    }

    /// Whether a connection of `peer` may come in: with a place where connections are counted, or not at all.
    ///
    /// # Errors
    ///
    /// The name of the limit that it is beyond.
    pub fn admit(&mut self, peer: IpAddr, now: Instant) -> Result<Option<Place>, &'static str> {
        let admitted = self.enter(network(peer), now);
        if let Err(limit) = admitted {
            self.tell(peer, limit, now);
        }
        admitted
    }

    fn enter(&mut self, address: IpAddr, now: Instant) -> Result<Option<Place>, &'static str> {
        let ConnectionLimits { per_address, per_second, per_address_and_second } = self.limits;
        if per_address.is_none() && per_address_and_second.is_none() {
            return self.all.take(per_second, now).then_some(None).ok_or(PER_SECOND);
        }
        if !self.addresses.contains_key(&address) && !self.has_room(now) {
            return Err("the addresses that are kept in mind");
        }
        let visits = self.addresses.entry(address).or_default();
        let limit = per_address
            .map_or(usize::MAX, |limit| usize::try_from(limit.get()).unwrap_or(usize::MAX));
        if visits.open() >= limit {
            return Err(PER_ADDRESS);
        }
        if !visits.pace.take(per_address_and_second, now) {
            return Err(PER_ADDRESS_AND_SECOND);
        }
        if !self.all.take(per_second, now) {
            return Err(PER_SECOND);
        }
        Ok(Some(Place { _counted: Arc::clone(&visits.open) }))
    }

    /// Whether another address can be kept in mind, if need be by forgetting those of which nothing is left.
    fn has_room(&mut self, now: Instant) -> bool {
        let is_full = self.addresses.len() >= limits::CLIENT_ADDRESSES_MAX;
        let is_due = self.cleaned.is_none_or(|at| now.saturating_duration_since(at) >= EVERY);
        if is_full && is_due {
            self.cleaned = Some(now);
            self.addresses.retain(|_, visits| visits.open() > 0 || !visits.pace.is_settled(now));
        }
        self.addresses.len() < limits::CLIENT_ADDRESSES_MAX
    }

    /// One line in a second, however many there are.
    fn tell(&mut self, peer: IpAddr, limit: &'static str, now: Instant) {
        self.refused = self.refused.saturating_add(1);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return;
        }
        let (listener, refused) = (&self.listener, self.refused);
        tracing::warn!(listener, refused, limit, last = %peer, "connections were closed at the door");
        self.told = Some(now);
        self.refused = 0;
    }
}

impl Visits {
    fn open(&self) -> usize {
        // One share is the table's own.
        Arc::strong_count(&self.open).saturating_sub(1)
    }
}

impl Pace {
    fn take(&mut self, limit: Option<NonZeroU32>, now: Instant) -> bool {
        let Some(limit) = limit else { return true };
        let cost = Duration::from_secs(1) / limit.get();
        let settled = self.settled.map_or(now, |at| at.max(now)) + cost;
        let fits = settled.saturating_duration_since(now) <= Duration::from_secs(1);
        if fits {
            self.settled = Some(settled);
        }
        fits
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.settled.is_none_or(|at| at <= now)
    }
}

/// One client of IPv6 has a network of 2^64 addresses to come from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Their names in the configuration.
const PER_ADDRESS: &str = "max.connections.per.ip";
const PER_SECOND: &str = "max.connection.creation.rate";
const PER_ADDRESS_AND_SECOND: &str = "max.connection.creation.rate.per.ip";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn gate(per_address: u32, per_second: u32, per_address_and_second: u32) -> Gate {
        let limits = ConnectionLimits {
            per_address: NonZeroU32::new(per_address),
            per_second: NonZeroU32::new(per_second),
            per_address_and_second: NonZeroU32::new(per_address_and_second),
        };
        Gate::new("test", limits)
    }

    #[test]
    fn open_connections_of_one_address_are_counted_until_they_end() {
        let (mut gate, now) = (gate(2, 0, 0), clock::monotonic());
        let first = gate.admit(ONE, now).unwrap().unwrap();
        let _second = gate.admit(ONE, now).unwrap().unwrap();
        assert_eq!(gate.admit(ONE, now).unwrap_err(), PER_ADDRESS);
        assert!(gate.admit(OTHER, now).is_ok());
        drop(first);
        assert!(gate.admit(ONE, now).is_ok());
    }

    #[test]
    fn new_connections_are_paced_for_one_address_and_for_all() {
        let (mut gate, now) = (gate(0, 15, 10), clock::monotonic());
        let admitted =
            |gate: &mut Gate, peer, at| (0..100).filter(|_| gate.admit(peer, at).is_ok()).count();
        assert_eq!(admitted(&mut gate, ONE, now), 10);
        assert_eq!(gate.admit(ONE, now).unwrap_err(), PER_ADDRESS_AND_SECOND);
        assert_eq!(admitted(&mut gate, OTHER, now), 5);
        let later = now + Duration::from_millis(500);
        // An address pays for each try within its own pace, also where the pace of all refuses it.
        assert_eq!(admitted(&mut gate, ONE, later), 5);
        assert_eq!(admitted(&mut gate, OTHER, later), 2);
    }

    #[test]
    fn without_limits_nothing_is_kept() {
        let (mut gate, now) = (gate(0, 0, 0), clock::monotonic());
        assert!((0..1_000).all(|_| gate.admit(ONE, now).unwrap().is_none()));
        assert!(gate.addresses.is_empty());
    }

    #[test]
    fn addresses_are_bounded_and_those_that_are_gone_make_room() {
        let (mut gate, now) = (gate(1, 0, 0), clock::monotonic());
        let address = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
        let most = u32::try_from(limits::CLIENT_ADDRESSES_MAX).unwrap();
        let places: Vec<_> = (0..most).map(|number| gate.admit(address(number), now)).collect();
        assert!(places.iter().all(Result::is_ok));
        assert!(gate.admit(address(most), now).is_err());
        drop(places);
        assert!(gate.admit(address(most), now).is_err(), "it is looked at once a second");
        assert!(gate.admit(address(most), now + EVERY).is_ok());
        assert_eq!(gate.addresses.len(), 1);
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let (mut gate, now) = (gate(1, 0, 0), clock::monotonic());
        let _first = gate.admit("2001:db8::1".parse().unwrap(), now).unwrap();
        assert!(gate.admit("2001:db8::2:1".parse().unwrap(), now).is_err());
        assert!(gate.admit("2001:db8:0:1::1".parse().unwrap(), now).is_ok());
        let _mapped = gate.admit("::ffff:192.0.2.1".parse().unwrap(), now).unwrap();
        assert!(gate.admit(ONE, now).is_err());
    }
}
