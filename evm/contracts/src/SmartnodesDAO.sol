// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {GovernorVotesQuorumFraction} from
    "@openzeppelin/contracts/governance/extensions/GovernorVotesQuorumFraction.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

/// @title Smartnodes DAO
/// @notice SNO holders (locked collateral included) propose and vote; what passes waits in the timelock, which holds
/// every authority and the treasury. Times are in seconds: the token's clock.
contract SmartnodesDAO is
    Governor,
    GovernorCountingSimple,
    GovernorVotes,
    GovernorVotesQuorumFraction,
    GovernorTimelockControl
{
    /// @notice Bounds of the quorum (percent): one of nothing would let anybody decide, and one that nobody reaches
    /// would end governance for good.
    uint256 public constant MIN_QUORUM = 5;
    uint256 public constant MAX_QUORUM = 50;

    /// @notice The quorum must be {MIN_QUORUM} to {MAX_QUORUM} percent.
    error DAO__InvalidQuorum(uint256 percent);
    /// @notice The other contracts name this timelock as their authority for good: with another one the DAO would have
    /// none.
    error DAO__TimelockIsFixed();

    /// @param token the SNO token
    /// @param timelock the authority; this contract is its only proposer
    constructor(IVotes token, TimelockController timelock)
        Governor("SmartnodesDAO")
        GovernorVotes(token)
        GovernorVotesQuorumFraction(10)
        GovernorTimelockControl(timelock)
    {}

    /// @notice Seconds from a proposal to the start of its vote.
    function votingDelay() public pure override returns (uint256) {
        return 1 days;
    }

    /// @notice Seconds that a vote lasts.
    function votingPeriod() public pure override returns (uint256) {
        return 7 days;
    }

    /// @notice Votes (SNO wei) that a proposer needs: enough that proposing at random is not free.
    function proposalThreshold() public pure override returns (uint256) {
        return 1_000e18;
    }

    /// @notice Takes the present timelock only; see {DAO__TimelockIsFixed}.
    function updateTimelock(TimelockController newTimelock) public override onlyGovernance {
        if (address(newTimelock) != timelock()) revert DAO__TimelockIsFixed();
    }

    function state(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (ProposalState)
    {
        return super.state(proposalId);
    }

    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    function _updateQuorumNumerator(uint256 percent) internal override {
        if (percent < MIN_QUORUM || percent > MAX_QUORUM) revert DAO__InvalidQuorum(percent);
        super._updateQuorumNumerator(percent);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _executor() internal view override(Governor, GovernorTimelockControl) returns (address) {
        return super._executor();
    }
}
