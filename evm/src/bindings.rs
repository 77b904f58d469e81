//! Typed bindings of the contracts, one module for each, from `evm/artifacts`.
//!
//! Each module has the contract's calls, events, errors, structs and `BYTECODE`. Core and the Coordinator live behind
//! proxies: their bindings are used with the proxy's address.

#![allow(
    missing_docs,
    clippy::too_many_arguments,
    reason = "generated from the ABI; the contracts' sources document it"
)]

use alloy::sol;

sol!(
    // The token, collateral, escrow, distributions and claims.
    #[derive(Debug, PartialEq, Eq)]
    SmartnodesERC20,
    "artifacts/SmartnodesERC20.json"
);

sol!(
    // Credentials, reputation, networks, jobs.
    #[derive(Debug, PartialEq, Eq)]
    SmartnodesCore,
    "artifacts/SmartnodesCore.json"
);

sol!(
    // Rounds, proposals, votes, execution.
    #[derive(Debug, PartialEq, Eq)]
    SmartnodesCoordinator,
    "artifacts/SmartnodesCoordinator.json"
);

sol!(
    // The governor.
    #[derive(Debug, PartialEq, Eq)]
    SmartnodesDAO,
    "artifacts/SmartnodesDAO.json"
);

sol!(
    // OpenZeppelin's timelock: authority over everything, and the treasury.
    #[derive(Debug, PartialEq, Eq)]
    SmartnodesTimelock,
    "artifacts/SmartnodesTimelock.json"
);

sol!(
    // OpenZeppelin's proxy, in front of Core and the Coordinator.
    #[derive(Debug, PartialEq, Eq)]
    ERC1967Proxy,
    "artifacts/ERC1967Proxy.json"
);
