//! Replace broker addresses by the gateway's own: none reaches a client.

use crate::config::Listener;
use crate::kafka::edit::Edits;
use crate::kafka::found::{Endpoint, Found};
use crate::kafka::{self, ErrorCode};

/// Rewrites every endpoint of a response. A broker without a port is left out of lists; where it is the one answer, the
/// client is told that there is none now, which it retries.
pub fn advertise(listener: &Listener, found: &Found, edits: &mut Edits) {
    for endpoint in &found.endpoints {
        // FindCoordinator says "nobody" with node -1 and an empty host beside its error.
        if endpoint.node < 0 {
            hide(endpoint, edits);
            continue;
        }
        // Where it is not said whose an address is, there is none to put in its place.
        let port = listener.broker_ports.port(endpoint.node).filter(|_| endpoint.node_at != 0);
        match port {
            Some(port) => {
                edits.set_string(&endpoint.host, Some(&listener.advertised_host));
                edits.set_int32(endpoint.port_at, i32::from(port));
            }
            None => withdraw(endpoint, found, edits),
        }
    }
}

fn withdraw(endpoint: &Endpoint, found: &Found, edits: &mut Edits) {
    let is_answer = endpoint.error_at != 0 || endpoint.element.is_empty();
    let list = found.lists.get(kafka::wire::index(endpoint.list));
    match list.filter(|_| !is_answer) {
        Some(list) => edits.remove(list, endpoint.element),
        None => {
            hide(endpoint, edits);
            edits.set_int32(endpoint.node_at, -1);
            if endpoint.error_at != 0 {
                edits.set_int16(endpoint.error_at, ErrorCode::COORDINATOR_NOT_AVAILABLE.0);
            }
        }
    }
}

fn hide(endpoint: &Endpoint, edits: &mut Edits) {
    edits.set_string(&endpoint.host, Some(""));
    edits.set_int32(endpoint.port_at, -1);
}
