// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title Smartnodes timelock
/// @notice Holds every authority and the treasury; what the DAO decides waits here. OpenZeppelin's contract, with bounds
/// for the delay that governance can give itself: without any wait nobody could leave before a decision that is
/// against them, and with an endless one governance would have ended itself.
contract SmartnodesTimelock is TimelockController {
    uint256 public constant MIN_DELAY = 1 days;
    uint256 public constant MAX_DELAY = 30 days;

    constructor(uint256 minDelay, address[] memory proposers, address[] memory executors, address admin)
        TimelockController(minDelay, proposers, executors, admin)
    {}

    /// @notice Seconds that a decision waits: what {updateDelay} set, within {MIN_DELAY} and {MAX_DELAY}.
    function getMinDelay() public view override returns (uint256) {
        return Math.min(Math.max(super.getMinDelay(), MIN_DELAY), MAX_DELAY);
    }
}
