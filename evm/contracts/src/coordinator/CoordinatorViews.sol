// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ISmartnodesERC20} from "../interfaces/ISmartnodesERC20.sol";
import {ISmartnodesCore} from "../interfaces/ISmartnodesCore.sol";
import {ISmartnodesCoordinator} from "../interfaces/ISmartnodesCoordinator.sol";
import {Threshold} from "../libraries/Threshold.sol";
import {CoordinatorStorage, StateUpdate, RoundStatus, ProposalInfo} from "./CoordinatorStorage.sol";

/// @title What the Coordinator tells
/// @dev Also the rules of who counts, which the Coordinator's actions share. Views show an expired round as what it
/// is: over, with the next one due.
abstract contract CoordinatorViews is ISmartnodesCoordinator, CoordinatorStorage {
    uint8 internal constant WAITING = 0;
    uint8 internal constant DUE = 1;
    uint8 internal constant SEALED = 2;
    uint8 internal constant DRAWABLE = 3;
    uint8 internal constant OPEN = 4;

    ISmartnodesERC20 internal immutable _token;
    ISmartnodesCore internal immutable _core;
    address internal immutable _timelock;

    error Coordinator__InvalidAddress();
    error Coordinator__InvalidApprovalPercentage();
    error Coordinator__InvalidProposalNumber();

    constructor(address token, address core, address timelock) {
        if (token == address(0) || core == address(0) || timelock == address(0)) revert Coordinator__InvalidAddress();
        _token = ISmartnodesERC20(token);
        _core = ISmartnodesCore(core);
        _timelock = timelock;
    }

    // ---- the round

    /// @notice Where the present round stands.
    function roundStatus() external view returns (RoundStatus memory status) {
        Round memory round = _current();
        status.round = round.number;
        status.phase = _phase();
        status.dueTime = _schedule.dueTime;
        status.nextDistributionId = uint64(_token.s_currentDistributionId() + 1);
        status.updateInterval = _schedule.interval;
        if (round.open) {
            status.openedAt = round.openedAt;
            status.expiresAt = round.expiresAt;
            status.snapshotCount = round.snapshotCount;
            status.requiredApprovals = uint64(_required(round));
            status.proposalCount = round.proposalCount;
        }
    }

    /// @notice The hash that stands for `update` in `round` of this contract on this chain.
    function hashStateUpdate(uint64 round, StateUpdate calldata update) public view returns (bytes32) {
        return keccak256(
            abi.encode(
                block.chainid,
                address(this),
                round,
                update.merkleRoot,
                update.totalCapacity,
                update.validatorsToRemove,
                update.jobIds,
                update.workersHash,
                update.capacitiesHash,
                update.reputationChanges
            )
        );
    }

    /// @notice The open round's proposals.
    function getProposals() external view returns (ProposalInfo[] memory proposals) {
        uint8 count = _current().proposalCount;
        proposals = new ProposalInfo[](count);
        for (uint8 i = 0; i < count; ++i) {
            Proposal memory p = _proposals[i + 1];
            proposals[i] = ProposalInfo(p.creator, p.proposalNum, p.votes, p.proposalHash, p.createdAt);
        }
    }

    /// @notice The hash that `validator` voted for in the open round, 0 = none.
    function votedFor(address validator) external view returns (bytes32) {
        uint256 proposalNum = validatorVote(validator);
        return proposalNum == 0 ? bytes32(0) : _proposals[proposalNum].proposalHash;
    }

    /// @notice Whether `caller` could execute the proposal now.
    function canExecute(uint8 proposalNum, address caller) external view returns (bool) {
        if (!isProposalReady(proposalNum) || !_isMember(caller)) return false;
        Round memory round = _current();
        Proposal memory proposal = _proposals[proposalNum];
        uint256 interval = _schedule.interval;
        bool windowOver =
            round.votedCount == round.snapshotCount || block.timestamp >= proposal.createdAt + interval / 32;
        bool mayCall = caller == proposal.creator || block.timestamp >= proposal.createdAt + interval / 16;
        return windowOver && mayCall;
    }

    /// @notice Whether the proposal has the approvals it needs.
    function isProposalReady(uint8 proposalNum) public view returns (bool) {
        Round memory round = _current();
        if (proposalNum == 0 || proposalNum > round.proposalCount) return false;
        return _proposals[proposalNum].votes >= _required(round);
    }

    /// @notice Whether `account` counts in the open round.
    function isSnapshotValidator(address account) external view returns (bool) {
        Round memory round = _current();
        return round.open && _counts(_info[account], round);
    }

    /// @notice Seconds that the present period covers.
    function updateInterval() public view returns (uint256) {
        return _schedule.interval;
    }

    /// @notice More than this share of the snapshot must approve; from the next round if it was changed in this one.
    function approvalPercentage() external view returns (uint8) {
        return _schedule.approvalPercent;
    }

    /// @notice Approvals needed of `count` validators at the present percentage: floor(percent x count / 100) + 1, and
    /// never more than all.
    function requiredApprovalsFor(uint256 count) external view returns (uint256) {
        return Threshold.required(count, _schedule.approvalPercent);
    }

    // ---- the validator set

    /// @notice The validator set.
    function getValidators() external view returns (address[] memory) {
        return _validators;
    }

    /// @notice Size of the validator set.
    function getValidatorCount() external view returns (uint256) {
        return _validators.length;
    }

    /// @notice Whether `account` is in the validator set.
    function isValidator(address account) external view returns (bool) {
        return _isMember(account);
    }

    /// @notice Seconds without a vote after which a validator does not count: three days, or two periods where they are
    /// so long that nobody could vote often enough.
    function activityWindow() public view returns (uint256) {
        uint256 twoPeriods = 2 * uint256(_schedule.interval);
        return twoPeriods > ACTIVITY_WINDOW ? twoPeriods : ACTIVITY_WINDOW;
    }

    /// @notice Whether `account` is in the set and has been seen within {activityWindow}.
    function isActive(address account) external view returns (bool) {
        return _isActive(account);
    }

    /// @notice The proposers drawn for the open round.
    function getCurrentRoundValidators() public view returns (address[] memory proposers) {
        if (_current().open) proposers = _proposers;
    }

    // ---- as upstream

    /// @notice A validator by its place in the set, from 0.
    function validators(uint256 index) external view returns (address) {
        return _validators[index];
    }

    /// @notice A drawn proposer of the open round, from 0.
    function currentRoundValidators(uint256 index) external view returns (address) {
        return getCurrentRoundValidators()[index];
    }

    /// @notice A proposal of the open round by its index, from 0 (its number is one more).
    function currentProposals(uint256 index)
        external
        view
        returns (address creator, uint8 proposalNum, uint32 votes, bytes32 proposalHash)
    {
        if (index >= _current().proposalCount) revert Coordinator__InvalidProposalNumber();
        Proposal memory p = _proposals[index + 1];
        return (p.creator, p.proposalNum, p.votes, p.proposalHash);
    }

    struct BriefProposal {
        address creator;
        uint8 proposalNum;
        uint32 votes;
        bytes32 proposalHash;
    }

    /// @notice A proposal of the open round by its number, from 1.
    function getProposal(uint8 proposalNum) public view returns (BriefProposal memory) {
        if (proposalNum == 0 || proposalNum > _current().proposalCount) revert Coordinator__InvalidProposalNumber();
        Proposal memory p = _proposals[proposalNum];
        return BriefProposal(p.creator, p.proposalNum, p.votes, p.proposalHash);
    }

    /// @notice The open round's proposals, without their times.
    function getCurrentProposals() external view returns (BriefProposal[] memory proposals) {
        uint8 count = _current().proposalCount;
        proposals = new BriefProposal[](count);
        for (uint8 i = 0; i < count; ++i) {
            proposals[i] = getProposal(i + 1);
        }
    }

    /// @notice Number of proposals in the open round.
    function getNumProposals() external view returns (uint8) {
        return _current().proposalCount;
    }

    /// @notice Approvals that a proposal of the open round needs, 0 if none is open.
    function getRequiredApprovals() public view returns (uint256) {
        Round memory round = _current();
        return round.open ? _required(round) : 0;
    }

    /// @notice Round number, proposers drawn, validators that count, approvals needed.
    function getCurrentRoundInfo()
        external
        view
        returns (
            uint256 roundNumber,
            uint256 selectedValidatorCount,
            uint256 requiredValidatorCount,
            uint256 requiredVotes
        )
    {
        Round memory round = _current();
        return (round.number, getCurrentRoundValidators().length, round.snapshotCount, getRequiredApprovals());
    }

    /// @notice Round number, its due time (seconds), its proposers.
    function getState()
        external
        view
        returns (uint256 proposalId, uint256 executionTime, address[] memory roundValidators)
    {
        return (_current().number, _schedule.dueTime, getCurrentRoundValidators());
    }

    /// @notice The last round in which `validator` voted, and whether it is a proposer of the open round.
    function getValidatorActivity(address validator)
        external
        view
        returns (uint256 lastActiveRound, bool isCurrentlySelected)
    {
        return (_info[validator].votedRound, _current().open && _isProposer(validator));
    }

    /// @notice The last round in which `validator` voted.
    function validatorLastActiveRound(address validator) external view returns (uint256) {
        return _info[validator].votedRound;
    }

    /// @notice The number of the proposal that `validator` voted for in the open round, 0 = none.
    function validatorVote(address validator) public view returns (uint256) {
        Round memory round = _current();
        Validator memory info = _info[validator];
        return round.open && info.votedRound == round.number ? info.votedFor : 0;
    }

    /// @notice The number of the proposal that `validator` made in the open round, 0 = none.
    function hasSubmittedProposal(address validator) external view returns (uint8) {
        Round memory round = _current();
        Validator memory info = _info[validator];
        return round.open && info.proposedRound == round.number ? info.proposed : 0;
    }

    /// @notice Whether a round was opened and ended without an execution, and the next is not sealed yet.
    function isRoundExpired() external view returns (bool) {
        return _round.open && block.timestamp >= _round.expiresAt;
    }

    /// @notice Number of the present round, the id that its execution is announced with.
    function nextProposalId() external view returns (uint256) {
        return _current().number;
    }

    /// @notice Update interval and the due time before the present one (seconds).
    function timeConfig() external view returns (uint128 updateTime, uint128 lastExecutionTime) {
        return (_schedule.interval, _schedule.dueTime - _schedule.interval);
    }

    // ---- rules

    /// @dev The round, or the one after it if it expired.
    function _current() internal view returns (Round memory round) {
        round = _round;
        if (round.open && block.timestamp >= round.expiresAt) {
            Round memory next;
            next.number = round.number + 1;
            return next;
        }
    }

    function _phase() internal view returns (uint8) {
        Round memory round = _current();
        if (round.open) return OPEN;
        if (block.timestamp < _schedule.dueTime) return WAITING;
        if (round.drawBlock == 0 || block.number > round.drawBlock + DRAW_WINDOW_BLOCKS) return DUE;
        return block.number > round.drawBlock ? DRAWABLE : SEALED;
    }

    /// @dev The first round whose snapshot is not settled yet: once the draw is sealed, joining must not change it.
    function _nextSnapshot() internal view returns (uint32) {
        Round memory round = _current();
        uint8 phase = _phase();
        return phase == WAITING || phase == DUE ? round.number : round.number + 1;
    }

    function _required(Round memory round) internal pure returns (uint256) {
        return Threshold.required(round.snapshotCount, round.approvalPercent);
    }

    function _isMember(address account) internal view returns (bool) {
        return _info[account].place != 0;
    }

    function _isActive(address account) internal view returns (bool) {
        Validator memory validator = _info[account];
        return validator.place != 0 && _seenLately(validator, block.timestamp);
    }

    function _isProposer(address account) internal view returns (bool) {
        uint256 count = _proposers.length;
        for (uint256 i = 0; i < count; ++i) {
            if (_proposers[i] == account) return true;
        }
        return false;
    }

    function _seenLately(Validator memory validator, uint256 time) internal view returns (bool) {
        return time < validator.lastSeenAt + activityWindow();
    }

    /// @dev Whether a validator is in the open round's snapshot and still a validator. Its record says so by itself:
    /// since the round opened, only a vote in it can have renewed its activity without changing `eligibleFrom`.
    function _counts(Validator memory validator, Round memory round) internal view returns (bool) {
        return (validator.place != 0 && validator.votedRound == round.number)
            || _counts(validator, round.number, round.openedAt);
    }

    /// @dev Whether a validator counts in a round that opens at `time`.
    function _counts(Validator memory validator, uint32 round, uint256 time) internal view returns (bool) {
        return validator.place != 0 && validator.eligibleFrom <= round && _seenLately(validator, time);
    }
}
