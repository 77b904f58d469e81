//! The chain's JSON-RPC endpoints: hosts of their own, in front of the same chain.
//!
//! The first is the chain's host itself. Faults name an endpoint by its number and strike what it answers.

use std::net::{Ipv4Addr, SocketAddr};

use madsim::runtime::Handle;
use smartnodes_scenarios::{Endpoints, HostName, Scenario};

use crate::chain_host::{ChainHost, RPC_PORT};
use crate::net::Net;
use crate::trace::Trace;
use crate::violation::Violations;
use crate::wire::Endpoint;

/// Starts those that the chain's own host at `first` is not. Returns where all of them are, in the order of their numbers.
pub fn start(
    scenario: &Scenario,
    first: Ipv4Addr,
    chain: &ChainHost,
    net: &Net,
    trace: &Trace,
    violations: &Violations,
) -> Vec<SocketAddr> {
    let mut all = vec![SocketAddr::new(first.into(), RPC_PORT)];
    for number in 2..=scenario.endpoint_count() {
        // A network has far fewer endpoints than the range has addresses.
        let [high, low] = (number as u16).to_be_bytes();
        let address = Ipv4Addr::new(10, 4, high, low);
        let name = format!("endpoint-{number}");
        let endpoint = Endpoint::new(&name, address.into(), net.clone(), trace.clone());
        let node = Handle::current()
            .create_node()
            .name(&name)
            .ip(address.into())
            .build();
        trace.add_node(node.id(), &name);
        let (chain, violations) = (chain.clone(), violations.clone());
        node.spawn(async move {
            if let Err(error) = chain.answer_at(endpoint, number).await {
                violations.add("chain-runs", format!("endpoint {number}: {error}"));
            }
        });
        all.push(SocketAddr::new(address.into(), RPC_PORT));
    }
    all
}

/// The endpoints that a host knows, in the order in which it asks them.
pub fn known_to(host: HostName, scenario: &Scenario, all: &[SocketAddr]) -> Vec<SocketAddr> {
    match scenario.chain.endpoints {
        Endpoints::Shared(_) => all.to_vec(),
        Endpoints::Each => {
            let place = scenario.hosts().position(|other| other == host);
            let own = place.and_then(|place| all.get(place));
            own.copied().into_iter().collect()
        }
    }
}
