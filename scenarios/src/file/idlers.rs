//! Hosts that cheat if they find occasion, and need not.

use std::collections::BTreeSet;

use super::File;
use crate::spot::Spot;
use crate::{HostName, Role};

/// The hosts that need not find occasion.
pub(super) fn idlers(file: &File) -> BTreeSet<HostName> {
    fn of(role: Role, groups: impl Iterator<Item = (usize, bool)>) -> Vec<HostName> {
        let hosts = groups.flat_map(|(count, may_idle)| (0..count).map(move |_| may_idle));
        let named = hosts.zip(1..).filter(|(may_idle, _)| *may_idle);
        named.map(|(_, number)| HostName { role, number }).collect()
    }
    let validators = file.validator.iter().map(Spot::as_ref);
    let workers = file.worker.iter().map(Spot::as_ref);
    let users = file.user.iter().map(Spot::as_ref);
    let peers = file.peer.iter().map(Spot::as_ref);
    let groups = [
        of(
            Role::Validator,
            validators.map(|group| (*group.count.as_ref(), group.may_idle)),
        ),
        of(
            Role::Worker,
            workers.map(|group| (*group.count.as_ref(), group.may_idle)),
        ),
        of(
            Role::User,
            users.map(|group| (*group.count.as_ref(), group.may_idle)),
        ),
        of(
            Role::Peer,
            peers.map(|group| (*group.count.as_ref(), group.may_idle)),
        ),
    ];
    groups.into_iter().flatten().collect()
}
