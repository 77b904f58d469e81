// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @notice A change of an account's reputation, by at most 100 points in one update.
struct ReputationChange {
    address account;
    int16 delta;
}

/// @title What the Coordinator and the token ask of Core
interface ISmartnodesCore {
    /// @notice Carries out an executed state update.
    function updateContract(
        bytes32[] calldata jobIds,
        bytes32 merkleRoot,
        uint256 totalCapacity,
        address[] calldata approvingValidators,
        uint256 interval,
        uint64 round,
        ReputationChange[] calldata reputationChanges
    ) external returns (uint256 distributionId);

    /// @notice The token's notice that `validator` was slashed: its role ends.
    function validatorSlashed(address validator) external;

    /// @notice Whether `account` has a validator's credential and collateral that is not being unlocked.
    function isLockedValidator(address account) external view returns (bool);
}
