// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SmartnodesCore} from "../src/SmartnodesCore.sol";

/// @title Core, changed
/// @notice What the test of an upgrade upgrades to: one more variable, which the upgrade itself sets, and what uses it.
contract SmartnodesCoreV2 is SmartnodesCore {
    /// @notice The least that a job should pay (wei).
    uint128 public minimumPayment;

    constructor(address token, address coordinator, address timelock) SmartnodesCore(token, coordinator, timelock) {}

    /// @notice Called once, by the upgrade.
    function initializeV2(uint128 payment) external reinitializer(2) {
        minimumPayment = payment;
    }

    /// @notice Whether an existing job pays enough.
    function paysEnough(bytes32 jobId) external view returns (bool) {
        (, uint128 payment,) = this.jobs(jobId);
        return payment >= minimumPayment;
    }
}
