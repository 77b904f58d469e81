// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Threshold} from "./libraries/Threshold.sol";
import {StateUpdate} from "./coordinator/CoordinatorStorage.sol";
import {CoordinatorViews} from "./coordinator/CoordinatorViews.sol";

/// @title Smartnodes Coordinator
/// @notice The validators' rounds: in each, more than 66 % of a fixed set of validators agree on one state update.
///
///   waiting --due time--> due --openRound--> sealed --2 blocks--> drawable --openRound--> open --execute--> waiting
///                          ^                                                               |
///                          +----------------------- expired (next round) ------------------+
///
/// In parts of the update interval: an open round expires after 3/4; any validator may propose after 1/4; nobody
/// proposes in the last 1/8; a proposal is executed no sooner than 1/32 after its creation (or when all have voted),
/// and from 1/16 on by any validator. A proposal made in time can therefore always be executed before its round ends.
contract SmartnodesCoordinator is
    CoordinatorViews,
    Initializable,
    UUPSUpgradeable,
    ReentrancyGuardTransient
{
    using SafeCast for uint256;

    event ValidatorAdded(address indexed validator);
    event ValidatorRemoved(address indexed validator);
    event ValidatorReactivated(address indexed validator, uint64 fromRound);
    /// @notice An executed update named `validator`, but without it fewer than the threshold would remain.
    event RemovalSkipped(address indexed validator);
    event DrawSealed(uint64 indexed round, uint256 drawBlock);
    event NewRoundStarted(uint256 indexed roundNumber, address[] selectedValidators);
    event RoundOpened(uint64 indexed round, uint64 snapshotCount, uint64 requiredApprovals);
    event RoundExpired(uint64 indexed round);
    event ProposalCreated(uint256 indexed proposalId, bytes32 indexed proposalHash, address indexed creator);
    event VoteCast(uint64 indexed round, address indexed validator, uint8 proposalNum, bytes32 proposalHash);
    event ProposalExecuted(uint256 indexed proposalId, bytes32 indexed proposalHash);
    event StateUpdateExecuted(
        uint64 indexed round, bytes32 indexed proposalHash, uint64 indexed distributionId, address executor
    );
    event ConfigUpdated(uint256 updateTime);
    event ApprovalPercentageUpdated(uint8 oldPercent, uint8 newPercent);

    error Coordinator__AlreadySubmittedProposal();
    error Coordinator__AlreadyVoted();
    error Coordinator__MustBeProposalCreator();
    error Coordinator__NotCoreContract();
    error Coordinator__NotTokenContract();
    error Coordinator__NotEligibleValidator();
    error Coordinator__NotEnoughActiveValidators();
    error Coordinator__NotEnoughVotes();
    error Coordinator__NotValidator();
    error Coordinator__ProposalDataMismatch();
    error Coordinator__ProposalTooEarly();
    error Coordinator__ValidatorAlreadyExists();
    error Coordinator__ValidatorNotRegistered();
    error Coordinator__NotDAO();
    error Coordinator__InvalidInterval();
    /// @notice No round is open.
    error Coordinator__RoundNotOpen();
    /// @notice The round has too little time left for a new proposal.
    error Coordinator__ProposalTooLate();
    /// @notice The round has a proposal with that hash: vote for it.
    error Coordinator__DuplicateProposal(uint8 proposalNum);
    error Coordinator__TooManyProposals();
    error Coordinator__InvalidProposalHash();
    /// @notice Executable at `executableAt` (seconds), or once every snapshot validator has voted.
    error Coordinator__VotingWindowOpen(uint256 executableAt);
    /// @notice A removed validator stays out through `round`.
    error Coordinator__CoolDown(uint256 round);

    constructor(address token, address core, address timelock) CoordinatorViews(token, core, timelock) {
        _disableInitializers();
    }

    /// @notice Called once, by the proxy's constructor. Genesis nodes must have their credential and collateral.
    /// @param interval update interval (seconds, 32 to 921,600)
    /// @param approvalPercent more than this share of the snapshot must approve (51 to 100)
    /// @param genesisNodes the first validators
    function initialize(uint32 interval, uint8 approvalPercent, address[] calldata genesisNodes)
        external
        initializer
    {
        if (interval < MIN_INITIAL_INTERVAL || interval > MAX_INTERVAL) revert Coordinator__InvalidInterval();
        _checkPercent(approvalPercent);
        if (genesisNodes.length == 0) revert Coordinator__NotEnoughActiveValidators();
        _schedule.dueTime = (_token.i_deploymentTimestamp() + interval).toUint48();
        _schedule.interval = interval;
        _schedule.nextInterval = interval;
        _schedule.approvalPercent = approvalPercent;
        _round.number = 1;
        for (uint256 i = 0; i < genesisNodes.length; ++i) {
            _join(genesisNodes[i]);
        }
    }

    // ---- rounds

    /// @notice Moves the round on by one step if it can: seals the block of the draw when it is due, draws and opens
    /// when that block is there. Where another validator was faster it changes nothing.
    /// @dev The one who seals does not know the block's hash, and the one who opens cannot change it.
    function openRound() external {
        _rollOver();
        if (!_isActive(msg.sender)) revert Coordinator__NotValidator();
        uint8 phase = _phase();
        if (phase == WAITING) revert Coordinator__ProposalTooEarly();
        if (phase == DUE) _seal();
        else if (phase == DRAWABLE) _open();
    }

    /// @notice Proposes the state update with that hash. A drawn proposer, or any validator that counts in the round
    /// once a quarter interval has passed; one proposal for each validator and round.
    function createProposal(bytes32 proposalHash) external {
        if (proposalHash == bytes32(0)) revert Coordinator__InvalidProposalHash();
        Round memory round = _requireOpen();
        Validator storage validator = _info[msg.sender];
        if (!_counts(validator, round)) revert Coordinator__NotEligibleValidator();
        uint256 interval = _schedule.interval;
        if (block.timestamp < round.openedAt + interval / 4 && !_isProposer(msg.sender)) {
            revert Coordinator__NotEligibleValidator();
        }
        if (validator.proposedRound == round.number) revert Coordinator__AlreadySubmittedProposal();
        if (block.timestamp > round.expiresAt - interval / 8) revert Coordinator__ProposalTooLate();
        if (round.proposalCount == type(uint8).max) revert Coordinator__TooManyProposals();
        for (uint8 i = 1; i <= round.proposalCount; ++i) {
            // Two equal proposals would split the votes of validators that agree.
            if (_proposals[i].proposalHash == proposalHash) revert Coordinator__DuplicateProposal(i);
        }
        uint8 proposalNum = round.proposalCount + 1;
        _round.proposalCount = proposalNum;
        validator.proposedRound = round.number;
        validator.proposed = proposalNum;
        _proposals[proposalNum] = Proposal(msg.sender, proposalNum, 0, uint48(block.timestamp), proposalHash);
        emit ProposalCreated(proposalNum, proposalHash, msg.sender);
    }

    /// @notice Votes, once in a round, for the proposal that has both that number and that hash.
    function voteForProposal(uint8 proposalNum, bytes32 proposalHash) external {
        Round memory round = _requireOpen();
        Validator memory validator = _info[msg.sender];
        if (!_counts(validator, round)) revert Coordinator__NotEligibleValidator();
        if (validator.votedRound == round.number) revert Coordinator__AlreadyVoted();
        Proposal storage proposal = _proposal(proposalNum, round);
        if (proposal.proposalHash != proposalHash) revert Coordinator__ProposalDataMismatch();
        validator.votedRound = round.number;
        validator.votedFor = proposalNum;
        validator.lastSeenAt = uint48(block.timestamp);
        _info[msg.sender] = validator;
        ++proposal.votes;
        ++_round.votedCount;
        emit VoteCast(round.number, msg.sender, proposalNum, proposalHash);
    }

    /// @notice Executes the approved proposal whose hash `update` has, and ends the round.
    function executeProposal(uint8 proposalNum, StateUpdate calldata update) external nonReentrant {
        Round memory round = _requireOpen();
        if (!_isMember(msg.sender)) revert Coordinator__NotValidator();
        Proposal memory proposal = _proposal(proposalNum, round);
        if (proposal.proposalHash != hashStateUpdate(round.number, update)) {
            revert Coordinator__ProposalDataMismatch();
        }
        if (proposal.votes < _required(round)) revert Coordinator__NotEnoughVotes();
        uint256 interval = _schedule.interval;
        if (round.votedCount < round.snapshotCount && block.timestamp < proposal.createdAt + interval / 32) {
            revert Coordinator__VotingWindowOpen(proposal.createdAt + interval / 32);
        }
        if (msg.sender != proposal.creator && block.timestamp < proposal.createdAt + interval / 16) {
            revert Coordinator__MustBeProposalCreator();
        }

        address[] memory voters = _votersOf(proposal, round);
        _removeNamed(update.validatorsToRemove, _required(round));
        _close();
        uint256 distributionId = _core.updateContract(
            update.jobIds,
            update.merkleRoot,
            update.totalCapacity,
            voters,
            interval,
            round.number,
            update.reputationChanges
        );
        emit ProposalExecuted(round.number, proposal.proposalHash);
        emit StateUpdateExecuted(round.number, proposal.proposalHash, uint64(distributionId), msg.sender);
    }

    // ---- the validator set

    /// @notice Enters the caller, a registered validator with locked collateral, in the set again; it counts from the
    /// next round.
    function addValidator() external {
        _rollOver();
        _join(msg.sender);
    }

    /// @notice Takes the caller out of the set at once; a vote of the present round is withdrawn.
    function removeValidator() external {
        _rollOver();
        if (!_isMember(msg.sender)) revert Coordinator__NotValidator();
        _leave(msg.sender);
    }

    /// @notice Makes an inactive validator count again, from the next round.
    function reactivate() external {
        _rollOver();
        if (!_isMember(msg.sender)) revert Coordinator__NotValidator();
        Validator storage validator = _info[msg.sender];
        // Who is active loses nothing, above all not its place in the present round.
        if (_seenLately(validator, block.timestamp)) return;
        Round memory round = _round;
        // One that fell inactive during the round keeps its place in it.
        if (!round.open || !_counts(validator, round)) validator.eligibleFrom = _nextSnapshot();
        validator.lastSeenAt = uint48(block.timestamp);
        emit ValidatorReactivated(msg.sender, validator.eligibleFrom);
    }

    function validatorRegistered(address validator) external onlyCore {
        _rollOver();
        _join(validator);
    }

    function validatorLeft(address validator) external onlyCore {
        _rollOver();
        if (_isMember(validator)) _leave(validator);
    }

    // ---- governance

    /// @notice Sets the update interval (seconds, 1 h to 256 h) from the next period; emission per hour stays.
    function updateTiming(uint256 newInterval) external {
        if (msg.sender != _timelock && msg.sender != address(_token)) revert Coordinator__NotDAO();
        if (newInterval < MIN_INTERVAL || newInterval > MAX_INTERVAL) revert Coordinator__InvalidInterval();
        _schedule.nextInterval = uint32(newInterval);
        emit ConfigUpdated(newInterval);
    }

    /// @notice Sets the approval percentage (51 to 100) from the next round.
    function setApprovalPercentage(uint8 newPercent) external {
        if (msg.sender != _timelock) revert Coordinator__NotDAO();
        _checkPercent(newPercent);
        emit ApprovalPercentageUpdated(_schedule.approvalPercent, newPercent);
        _schedule.approvalPercent = newPercent;
    }

    // ---- internals

    modifier onlyCore() {
        if (msg.sender != address(_core)) revert Coordinator__NotCoreContract();
        _;
    }

    function _authorizeUpgrade(address) internal view override {
        if (msg.sender != _timelock) revert Coordinator__NotDAO();
    }

    function _checkPercent(uint8 percent) private pure {
        if (percent < 51 || percent > 100) revert Coordinator__InvalidApprovalPercentage();
    }

    /// @dev The round, which must be open and not expired.
    function _requireOpen() private view returns (Round memory round) {
        round = _round;
        if (!round.open || block.timestamp >= round.expiresAt) revert Coordinator__RoundNotOpen();
    }

    function _proposal(uint8 proposalNum, Round memory round) private view returns (Proposal storage) {
        if (proposalNum == 0 || proposalNum > round.proposalCount) revert Coordinator__InvalidProposalNumber();
        return _proposals[proposalNum];
    }

    /// @dev Ends a round that expired; the next one is due at once, for the same period.
    function _rollOver() private {
        if (_round.open && block.timestamp >= _round.expiresAt) {
            emit RoundExpired(_round.number);
            _endRound();
        }
    }

    function _endRound() private {
        Round memory ended = _round;
        Round memory next;
        next.number = ended.number + 1;
        _round = next;
    }

    function _seal() private {
        _round.drawBlock = (block.number + DRAW_DELAY_BLOCKS).toUint40();
        emit DrawSealed(_round.number, _round.drawBlock);
    }

    /// @dev Fixes who counts, draws the proposers and opens. The draw takes the lowest hashes of seed and address,
    /// those first who voted in the round before: nobody's place depends on the order of the list, so leaving or
    /// joining moves nobody else.
    function _open() private {
        Round memory round = _round;
        address[] memory members = _validators;
        bool[] memory sufficient = _token.sufficientCollateral(members);
        uint256[] memory ranks = new uint256[](members.length);
        bytes32 seed = keccak256(abi.encode(blockhash(round.drawBlock), address(this), round.number));
        uint256 count;
        for (uint256 i = 0; i < members.length; ++i) {
            Validator memory validator = _info[members[i]];
            if (!_counts(validator, round.number, block.timestamp)) continue;
            if (!sufficient[i]) {
                // Noted, because topping up later must not bring it into this round.
                _info[members[i]].eligibleFrom = round.number + 1;
                continue;
            }
            bool recent = validator.votedRound + 1 == round.number;
            // The highest bit puts those behind who did not vote; the lowest is set, because 0 means out.
            ranks[i] = (uint256(keccak256(abi.encode(seed, members[i]))) >> 1) | 1 | (recent ? 0 : 1 << 255);
            ++count;
        }
        if (count == 0) {
            // Everybody is inactive, or came back after the seal: the next round draws anew.
            _endRound();
            _seal();
            return;
        }
        _proposers = _lowest(members, ranks, Threshold.proposers(count));

        round.open = true;
        round.drawBlock = 0;
        round.approvalPercent = _schedule.approvalPercent;
        round.snapshotCount = count.toUint32();
        round.openedAt = uint48(block.timestamp);
        round.expiresAt = (block.timestamp + (uint256(_schedule.interval) * 3) / 4).toUint48();
        _round = round;
        emit NewRoundStarted(round.number, _proposers);
        emit RoundOpened(round.number, round.snapshotCount, uint64(_required(round)));
    }

    /// @dev The members with the `count` lowest ranks other than 0, lowest first.
    function _lowest(address[] memory members, uint256[] memory ranks, uint256 count)
        private
        pure
        returns (address[] memory chosen)
    {
        chosen = new address[](count);
        for (uint256 k = 0; k < count; ++k) {
            uint256 best = type(uint256).max;
            uint256 at;
            for (uint256 i = 0; i < ranks.length; ++i) {
                if (ranks[i] != 0 && ranks[i] < best) {
                    best = ranks[i];
                    at = i;
                }
            }
            chosen[k] = members[at];
            ranks[at] = 0;
        }
    }

    /// @dev Ends an executed round. Due times keep their grid: lateness does not shift it, and a period that was
    /// wholly missed is not paid back. A new interval starts with the next period.
    function _close() private {
        Schedule memory schedule = _schedule;
        uint256 periods = (block.timestamp - schedule.dueTime) / schedule.interval;
        schedule.dueTime = (schedule.dueTime + periods * schedule.interval + schedule.nextInterval).toUint48();
        schedule.interval = schedule.nextInterval;
        _schedule = schedule;
        _endRound();
    }

    function _votersOf(Proposal memory proposal, Round memory round) private view returns (address[] memory voters) {
        voters = new address[](proposal.votes);
        uint256 found;
        uint256 count = _validators.length;
        for (uint256 i = 0; i < count && found < voters.length; ++i) {
            address account = _validators[i];
            Validator memory validator = _info[account];
            if (validator.votedRound == round.number && validator.votedFor == proposal.proposalNum) {
                voters[found++] = account;
            }
        }
    }

    /// @dev Removes whom the update names, as far as `required` validators of the snapshot remain. What cannot be
    /// done is passed over, so that an approved update can always be executed.
    function _removeNamed(address[] calldata named, uint256 required) private {
        for (uint256 i = 0; i < named.length; ++i) {
            if (!_isMember(named[i])) continue;
            Round memory round = _round;
            if (_counts(_info[named[i]], round) && round.snapshotCount <= required) {
                emit RemovalSkipped(named[i]);
                continue;
            }
            _leave(named[i]);
            _info[named[i]].bannedThrough = (round.number + REMOVAL_ROUNDS).toUint32();
        }
    }

    function _join(address account) private {
        Validator storage validator = _info[account];
        if (validator.place != 0) revert Coordinator__ValidatorAlreadyExists();
        if (!_core.isLockedValidator(account)) revert Coordinator__ValidatorNotRegistered();
        if (validator.bannedThrough >= _round.number && validator.bannedThrough != 0) {
            revert Coordinator__CoolDown(validator.bannedThrough);
        }
        _validators.push(account);
        validator.place = _validators.length.toUint32();
        validator.lastSeenAt = uint48(block.timestamp);
        validator.eligibleFrom = _nextSnapshot();
        emit ValidatorAdded(account);
    }

    /// @dev Takes a member out, and with it its place in the snapshot and its vote.
    function _leave(address account) private {
        Validator storage validator = _info[account];
        Round memory round = _round;
        if (round.open && _counts(validator, round)) {
            --_round.snapshotCount;
            if (validator.votedRound == round.number) {
                --_round.votedCount;
                --_proposals[validator.votedFor].votes;
                validator.votedRound = 0;
            }
        }
        uint32 place = validator.place;
        address last = _validators[_validators.length - 1];
        _validators[place - 1] = last;
        _info[last].place = place;
        _validators.pop();
        validator.place = 0;
        emit ValidatorRemoved(account);
    }
}
