// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SmartnodesCoordinator} from "../src/SmartnodesCoordinator.sol";

/// @title The Coordinator, changed
/// @notice What the test of an upgrade upgrades to: one more variable, which the upgrade itself sets, and what uses it.
contract SmartnodesCoordinatorV2 is SmartnodesCoordinator {
    /// @notice The round in which the upgrade was made.
    uint32 public upgradedInRound;

    constructor(address token, address core, address timelock) SmartnodesCoordinator(token, core, timelock) {}

    /// @notice Called once, by the upgrade.
    function initializeV2() external reinitializer(2) {
        upgradedInRound = _round.number;
    }

    /// @notice How many validators of the present round have not voted.
    function missingVotes() external view returns (uint256) {
        return _round.snapshotCount - _round.votedCount;
    }
}
