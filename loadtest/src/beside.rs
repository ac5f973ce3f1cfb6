//! Gateway and relays in front of one broker, all started on this machine: the figures that every change can be held
//! against without preparing anything.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::drive::{self, Load, Work};
use crate::plan::{BesidePlan, BrokerKind, Client, Kind};
use crate::process::Process;
use crate::stage::{self, Gateway, GatewayPlan, NullBroker, folder, free_address};
use crate::target::Target;
use crate::tls;

/// All that runs for a comparison. (Fields end in this order: processes before their folders.)
pub struct Beside {
    /// What to compare, in the order asked for.
    pub targets: Vec<Target>,
    _gateways: Vec<Gateway>,
    _relays: Vec<Process>,
    _brokers: Vec<Process>,
    _folders: Vec<TempDir>,
}

/// A relay that is to be started: where, and what it listens for.
struct Place {
    kind: Kind,
    relay: SocketAddr,
    broker: SocketAddr,
}

/// Starts everything; it ends with the returned value.
///
/// # Errors
/// Where a program does not start, or the topic cannot be filled.
pub fn start(plan: &BesidePlan, load: &Load) -> anyhow::Result<Beside> {
    ensure!(
        plan.broker == BrokerKind::Kafka
            || plan.comparison.tools.client != Client::Java
            || load.work != Work::Consume,
        "Java's consumer joins a group, which the null broker does not speak: --broker kafka"
    );
    let mut folders = Vec::new();
    let open = free_address()?;
    let mut places = Vec::new();
    for kind in plan.targets.iter().filter(|kind| matches!(kind, Kind::Relay | Kind::RelayTls)) {
        let (relay, broker) = (free_address()?, free_address()?);
        places.push(Place { kind: *kind, relay, broker });
    }
    let brokers = match plan.broker {
        BrokerKind::Null => null_brokers(plan, load, open, &places)?,
        BrokerKind::Kafka => {
            let home =
                plan.comparison.tools.kafka_home.as_deref().context("Kafka needs --kafka-home")?;
            let data = folder()?;
            let relayed: Vec<_> = places.iter().map(|place| (place.broker, place.relay)).collect();
            let kafka = stage::kafka(home, data.path(), open, &relayed)?;
            folders.push(data);
            drive::fill(&Target::new("kafka", open), load, plan.comparison.tools.bytes())?;
            vec![kafka]
        }
    };
    let mut targets = Vec::new();
    let (mut relays, mut gateways) = (Vec::new(), Vec::new());
    let mut places = places.iter();
    for kind in &plan.targets {
        let name = kind.name();
        targets.push(match kind {
            // Its process is the broker, which is not under test.
            Kind::Direct => Target::new(&name, open),
            Kind::Relay | Kind::RelayTls => {
                let place = places.next().context("a relay without a place")?;
                let mut target = Target::new(&name, place.relay);
                let mut certificates = None;
                if place.kind == Kind::RelayTls {
                    let folder = folder()?;
                    tls::write_certificates(folder.path())?;
                    target.set("security.protocol", "SSL");
                    target.set_authority(folder.path());
                    certificates = Some(folder);
                }
                let relay = stage::relay(
                    place.relay,
                    place.broker,
                    certificates.as_ref().map(TempDir::path),
                )?;
                target.pid = Some(relay.pid());
                relays.push(relay);
                folders.extend(certificates);
                target
            }
            _ => {
                let gateway = start_gateway(plan, load, *kind, open)?;
                let target = gateway.target(&name, "loadtest")?;
                gateways.push(gateway);
                target
            }
        });
    }
    Ok(Beside {
        targets,
        _gateways: gateways,
        _relays: relays,
        _brokers: brokers,
        _folders: folders,
    })
}

/// One null broker for all that needs no address of its own, and one behind each relay, which rewrites no answer.
fn null_brokers(
    plan: &BesidePlan,
    load: &Load,
    open: SocketAddr,
    places: &[Place],
) -> anyhow::Result<Vec<Process>> {
    let broker = NullBroker {
        topic: &load.topic,
        partitions: load.partitions,
        record_bytes: load.record_bytes,
        batch_records: load.batch_records,
        value_file: plan.load.value_file.as_deref(),
    };
    let mut brokers = vec![broker.start(open, open)?];
    for place in places {
        brokers.push(broker.start(place.broker, place.relay)?);
    }
    Ok(brokers)
}

fn start_gateway(
    plan: &BesidePlan,
    load: &Load,
    kind: Kind,
    broker: SocketAddr,
) -> anyhow::Result<Gateway> {
    let masks = plan.masks.as_ref().map(std::fs::read_to_string).transpose();
    let payload = matches!(kind, Kind::GatewayPayload | Kind::GatewayTlsPayload);
    Gateway::start(&GatewayPlan {
        program: &stage::gateway_program(plan.gateway.as_deref())?,
        broker,
        topic: &load.topic,
        shards: Some(plan.shards),
        masks: &masks.context("cannot read the masks")?.unwrap_or_default(),
        payload: if payload { "delivered" } else { "none" },
        encrypted: matches!(kind, Kind::GatewayTls | Kind::GatewayTlsPayload),
    })
}
