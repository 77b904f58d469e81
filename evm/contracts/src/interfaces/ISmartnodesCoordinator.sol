// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title What Core and the token ask of the Coordinator
interface ISmartnodesCoordinator {
    /// @notice Core's notice that `validator` has registered; it counts from the next round.
    function validatorRegistered(address validator) external;

    /// @notice Core's notice that `validator` has given up or lost its role; it is out at once, and so is its vote.
    function validatorLeft(address validator) external;

    /// @notice Whether `account` is in the validator set.
    function isValidator(address account) external view returns (bool);

    /// @notice Seconds that the present period covers.
    function updateInterval() external view returns (uint256);

    /// @notice Sets the update interval (seconds) from the next period.
    function updateTiming(uint256 newInterval) external;
}
