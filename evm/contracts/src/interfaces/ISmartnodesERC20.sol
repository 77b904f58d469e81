// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title What the Coordinator and Core ask of the token
interface ISmartnodesERC20 {
    /// @notice An amount in SNO and one in ETH, both in wei.
    struct PaymentAmounts {
        uint128 sno;
        uint128 eth;
    }

    /// @notice Locks the collateral of `user`; the tokens leave its balance, its voting power stays.
    function lockTokens(address user, bool isValidator) external;

    /// @notice Starts an unlock, or pays it out when its waiting time is over.
    function unlockTokens(address user, bool isValidator) external;

    /// @notice Whether `user` holds collateral of the kind that is not being unlocked.
    function isLockedAs(address user, bool isValidator) external view returns (bool);

    /// @notice Whether that collateral is as large as governance asks at this moment.
    function hasSufficientCollateral(address user, bool isValidator) external view returns (bool);

    /// @notice {hasSufficientCollateral} of many validators.
    function sufficientCollateral(address[] calldata accounts) external view returns (bool[] memory);

    /// @notice Moves `payment` SNO of `user` into escrow.
    function escrowPayment(address user, uint256 payment) external;

    /// @notice Takes the ETH that comes with the call into escrow.
    function escrowEthPayment(address user, uint256 payment) external payable;

    /// @notice Moves escrowed SNO on to the next distribution.
    function releaseEscrowedPayment(address user, uint256 amount) external;

    /// @notice Moves escrowed ETH on to the next distribution.
    function releaseEscrowedEthPayment(address user, uint256 amount) external;

    /// @notice Gives escrowed SNO back.
    function refundEscrowedPayment(address user, uint256 amount) external;

    /// @notice Gives escrowed ETH back.
    function refundEscrowedEthPayment(address user, uint256 amount) external;

    /// @notice Pays a state update: emission for `interval` seconds and all released payments.
    function createMerkleDistribution(
        bytes32 merkleRoot,
        uint256 totalCapacity,
        address[] calldata approvingValidators,
        uint256 interval
    ) external returns (uint256 distributionId);

    /// @notice Number of distributions so far, which is the id of the last one.
    function s_currentDistributionId() external view returns (uint256);

    /// @notice When the token was deployed: the start of era 0 and of the grid of due times (seconds).
    function i_deploymentTimestamp() external view returns (uint256);
}
