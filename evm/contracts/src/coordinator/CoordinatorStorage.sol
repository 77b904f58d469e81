// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ReputationChange} from "../interfaces/ISmartnodesCore.sol";

/// @notice Everything that a state update does; validators vote for its hash.
struct StateUpdate {
    /// Root over (account, capacity, distribution id); zero exactly if the total capacity is zero.
    bytes32 merkleRoot;
    /// Sum of the leaves' capacities.
    uint256 totalCapacity;
    /// Leave the validator set, for three rounds at least.
    address[] validatorsToRemove;
    /// Paid jobs that were completed.
    bytes32[] jobIds;
    /// keccak256(abi.encode(address[])) of the leaves' accounts.
    bytes32 workersHash;
    /// keccak256(abi.encode(uint256[])) of the leaves' capacities.
    bytes32 capacitiesHash;
    /// At most one for each account.
    ReputationChange[] reputationChanges;
}

/// @notice Where the present round stands; times in chain seconds.
struct RoundStatus {
    uint64 round;
    /// 0 waiting for the due time; 1 due: {openRound} seals a future block for the draw; 2 sealed: that block is not
    /// there yet; 3 drawable: {openRound} draws the proposers and opens; 4 open: propose, vote, execute.
    uint8 phase;
    uint64 dueTime;
    /// From here on 0 unless the round is open.
    uint64 openedAt;
    uint64 expiresAt;
    uint64 snapshotCount;
    uint64 requiredApprovals;
    uint8 proposalCount;
    /// The id that the distribution of the next executed update gets.
    uint64 nextDistributionId;
    /// Seconds that the present period covers.
    uint64 updateInterval;
}

/// @notice A proposal of the present round.
struct ProposalInfo {
    address creator;
    uint8 proposalNum;
    uint32 votes;
    bytes32 proposalHash;
    uint64 createdAt;
}

/// @title State of the Coordinator
/// @dev New storage goes to the end: the Coordinator is upgradeable.
abstract contract CoordinatorStorage {
    struct Round {
        uint32 number;
        bool open;
        uint8 approvalPercent;
        uint8 proposalCount;
        /// Validators of the snapshot that are still validators.
        uint32 snapshotCount;
        /// How many of them have voted.
        uint32 votedCount;
        uint48 openedAt;
        uint48 expiresAt;
        /// The block whose hash draws the proposers; 0 while none is sealed.
        uint40 drawBlock;
    }

    struct Schedule {
        uint48 dueTime;
        uint32 interval;
        uint32 nextInterval;
        uint8 approvalPercent;
    }

    /// @dev One storage slot for each validator. What it says of a round is void in another round, so that nothing
    /// has to be reset when a round ends.
    struct Validator {
        /// Place in the list plus one; 0 = not in the set.
        uint32 place;
        /// When it joined, voted or reactivated itself last (seconds).
        uint48 lastSeenAt;
        /// The first round in which it counts.
        uint32 eligibleFrom;
        uint32 votedRound;
        uint32 proposedRound;
        /// Cannot join again up to and including this round.
        uint32 bannedThrough;
        uint8 votedFor;
        uint8 proposed;
    }

    struct Proposal {
        address creator;
        uint8 proposalNum;
        uint32 votes;
        uint48 createdAt;
        bytes32 proposalHash;
    }

    /// @notice A validator that has not voted for so long does not count until it reactivates itself (seconds); see
    /// {activityWindow}.
    uint256 public constant ACTIVITY_WINDOW = 3 days;
    /// @notice Rounds that a removed validator stays out.
    uint256 public constant REMOVAL_ROUNDS = 3;
    /// @notice Bounds of the update interval that governance sets (seconds).
    uint256 public constant MIN_INTERVAL = 1 hours;
    uint256 public constant MAX_INTERVAL = 256 hours;
    /// @dev The shortest interval for which the parts of a round (1/32) are whole seconds.
    uint256 internal constant MIN_INITIAL_INTERVAL = 32;
    /// @dev Blocks from the seal to the block that draws: the one who seals cannot know its hash.
    uint256 internal constant DRAW_DELAY_BLOCKS = 2;
    /// @dev Later than this the hash may be out of the EVM's reach (256 blocks), and a new block is sealed.
    uint256 internal constant DRAW_WINDOW_BLOCKS = 250;

    Round internal _round;
    Schedule internal _schedule;
    address[] internal _validators;
    mapping(address account => Validator) internal _info;
    /// Reused from round to round.
    mapping(uint256 proposalNum => Proposal) internal _proposals;
    address[] internal _proposers;
}
