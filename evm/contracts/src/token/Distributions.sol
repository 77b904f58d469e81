// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Emission} from "../libraries/Emission.sol";
import {Escrow} from "./Escrow.sol";

/// @title Distributions and claims
/// @notice Each state update makes one distribution: emission and released payments, 85 % to the workers (claimed by
/// Merkle proof), 10 % to the approving validators in equal parts, the rest (5 % and every remainder) to the treasury.
/// The workers' part of the emission is minted when it is claimed; what came from payments exists already and is
/// handed on.
abstract contract Distributions is Escrow {
    using SafeCast for uint256;

    struct Distribution {
        bytes32 merkleRoot;
        uint112 totalCapacity;
        uint48 timestamp;
        /// The part of the pool's SNO that came from payments (wei; 2^96 is 79 billion SNO).
        uint96 payments;
        PaymentAmounts workerReward;
        PaymentAmounts unclaimed;
    }

    struct Progress {
        uint64 currentId;
        /// Chain seconds of the last distribution.
        uint64 lastTime;
        /// Until when emission has been paid (chain seconds).
        uint64 paidUntil;
    }

    struct EmissionTotals {
        /// Minted by state updates: validators and treasury (SNO wei).
        uint128 minted;
        /// Workers' part of the emission, without what expired (SNO wei).
        uint128 allocated;
    }

    /// @notice A distribution can be claimed while at most this many later ones exist.
    uint256 public constant CLAIMABLE_UPDATES = 500;
    /// @notice Up to so many approving validators are sent their SNO; more collect it with {withdrawSno}.
    uint256 public constant PUSH_MAX = 100;
    uint256 internal constant WORKER_PERCENT = 85;
    uint256 internal constant VALIDATOR_PERCENT = 10;

    /// @notice Root over (account, amount) of rewards claimed on the testnet; zero on a chain that has none.
    bytes32 public immutable i_testnetRoot;
    /// @notice The most that the testnet's rewards can mint (SNO wei).
    uint256 public immutable i_testnetTotal;

    mapping(uint256 distributionId => Distribution) private _distributions;
    Progress internal _progress;
    EmissionTotals internal _emission;
    /// @notice All that workers have yet to claim.
    PaymentAmounts public s_totalUnclaimed;
    /// @notice Who has claimed testnet rewards.
    mapping(address account => bool) public s_testnetClaimed;
    /// @notice Testnet rewards claimed so far (SNO wei).
    uint256 public s_testnetClaimedTotal;

    event MerkleDistributionCreated(
        uint256 indexed distributionId,
        bytes32 merkleRoot,
        uint256 totalSnoRewards,
        uint256 totalEthRewards,
        uint256 timestamp
    );
    event ValidatorRewardsDistributed(
        uint256 indexed distributionId, address[] validators, uint256 totalSno, uint256 totalEth
    );
    event DAORewardsDistributed(uint256 indexed distributionId, uint256 snoAmount, uint256 ethAmount);
    event DistributionExpired(uint256 distributionId);
    event TokenRewardsClaimed(uint256 indexed distributionId, address indexed user, uint256 amount);
    event EthRewardsClaimed(address indexed user, uint256 amount);
    event ClaimFailed(uint256 indexed distributionId, address indexed user, string reason);
    event TestnetRewardsClaimed(address indexed user, uint256 amount);

    error Token__DistributionTooEarly();
    error Token__DistributionTooOld();
    error Token__InvalidMerkleRoot();
    error Token__InvalidMerkleProof();
    error Token__RewardsAlreadyClaimed();
    /// @notice No distribution with that id has workers' rewards.
    error Token__UnknownDistribution();
    /// @notice The pool is spent: the leaves' capacities add up to more than the total capacity.
    error Token__DistributionExhausted();

    constructor(bytes32 testnetRoot, uint256 testnetTotal) {
        i_testnetRoot = testnetRoot;
        i_testnetTotal = testnetTotal;
        _progress.paidUntil = uint64(block.timestamp);
    }

    /// @notice Pays a state update. `interval` is the length (seconds) of the period that it covers.
    /// @dev Emission has its own clock here, in the contract that nobody can upgrade: the periods paid for cannot
    /// add up to more than the time that has passed, whatever Core and the Coordinator become. A period that nobody
    /// paid for in time is not paid back.
    function createMerkleDistribution(
        bytes32 merkleRoot,
        uint256 totalCapacity,
        address[] calldata approvingValidators,
        uint256 interval
    ) external onlyCore nonReentrant returns (uint256 distributionId) {
        if (approvingValidators.length == 0) revert Token__InvalidArrayLength();
        if ((merkleRoot == bytes32(0)) != (totalCapacity == 0)) revert Token__InvalidMerkleRoot();
        distributionId = _advance(interval);
        uint256 emission = _emissionOf(interval);

        // Without capacity nobody can claim, so payments stay for the next distribution.
        PaymentAmounts memory payments;
        if (totalCapacity != 0) {
            payments = s_released;
            delete s_released;
        }
        PaymentAmounts memory pool = PaymentAmounts((emission + payments.sno).toUint128(), payments.eth);
        emit MerkleDistributionCreated(distributionId, merkleRoot, pool.sno, pool.eth, block.timestamp);
        PaymentAmounts memory workers = _shareOf(pool, WORKER_PERCENT);
        uint128 workerPayments = _shareOf(payments, WORKER_PERCENT).sno;

        uint256 minted = emission - (workers.sno - workerPayments);
        _emission.minted += minted.toUint128();
        _mint(address(this), minted);
        if (totalCapacity != 0) _store(distributionId, merkleRoot, totalCapacity, workers, workerPayments);
        PaymentAmounts memory paid = _payValidators(distributionId, approvingValidators, pool);
        _payTreasury(
            distributionId, PaymentAmounts(pool.sno - workers.sno - paid.sno, pool.eth - workers.eth - paid.eth)
        );
        _recordTotalVotes();
    }

    /// @notice Claims the caller's reward for `capacity` in one distribution.
    function claimMerkleRewards(uint256 distributionId, uint256 capacity, bytes32[] calldata proof)
        external
        nonReentrant
    {
        (bytes4 failure,, PaymentAmounts memory reward, uint256 handedOn) = _claim(distributionId, capacity, proof);
        if (failure != bytes4(0)) {
            assembly ("memory-safe") {
                mstore(0, failure)
                revert(0, 4)
            }
        }
        _pay(reward, handedOn);
    }

    /// @notice Claims from several distributions at once. One that cannot be claimed is reported by {ClaimFailed} and
    /// does not stop the others.
    function batchClaimMerkleRewards(
        uint256[] calldata distributionIds,
        uint256[] calldata capacities,
        bytes32[][] calldata proofs
    ) external nonReentrant {
        uint256 count = distributionIds.length;
        if (count == 0 || count != capacities.length || count != proofs.length) revert Token__InvalidArrayLength();
        PaymentAmounts memory total;
        uint256 totalHandedOn;
        for (uint256 i = 0; i < count; ++i) {
            (bytes4 failure, string memory reason, PaymentAmounts memory reward, uint256 handedOn) =
                _claim(distributionIds[i], capacities[i], proofs[i]);
            if (failure != bytes4(0)) {
                emit ClaimFailed(distributionIds[i], msg.sender, reason);
                continue;
            }
            total.sno += reward.sno;
            total.eth += reward.eth;
            totalHandedOn += handedOn;
        }
        _pay(total, totalHandedOn);
    }

    /// @notice Claims, once, what the caller earned on the testnet. Leaf: keccak256(keccak256(abi.encode(account,
    /// amount))), sorted pairs.
    function claimTestnetRewards(uint256 amount, bytes32[] calldata proof) external {
        if (i_testnetRoot == bytes32(0)) revert Token__InvalidMerkleRoot();
        if (s_testnetClaimed[msg.sender]) revert Token__RewardsAlreadyClaimed();
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(msg.sender, amount))));
        if (!MerkleProof.verifyCalldata(proof, i_testnetRoot, leaf)) revert Token__InvalidMerkleProof();
        if (amount > i_testnetTotal - s_testnetClaimedTotal) revert Token__DistributionExhausted();
        s_testnetClaimed[msg.sender] = true;
        s_testnetClaimedTotal += amount;
        _mint(msg.sender, amount);
        emit TestnetRewardsClaimed(msg.sender, amount);
    }

    /// @notice Whether `account` has claimed from the distribution.
    function s_claimed(uint256 distributionId, address account) external view returns (bool) {
        return _isMarked(account, distributionId);
    }

    /// @notice A distribution; `nonce` is its id. A distribution without capacity, and one that expired, is empty.
    function s_distributions(uint256 distributionId)
        external
        view
        returns (
            bytes32 merkleRoot,
            PaymentAmounts memory workerReward,
            uint256 totalCapacity,
            uint256 timestamp,
            uint256 nonce
        )
    {
        Distribution storage d = _distributions[distributionId];
        return (d.merkleRoot, d.workerReward, d.totalCapacity, d.timestamp, distributionId);
    }

    /// @notice What workers have yet to claim of a distribution, and how much of the SNO came from payments (wei).
    function unclaimedOf(uint256 distributionId) external view returns (PaymentAmounts memory unclaimed, uint256 payments) {
        Distribution storage d = _distributions[distributionId];
        return (d.unclaimed, _paymentsIn(d.unclaimed.sno, d.payments, d.workerReward.sno));
    }

    /// @notice Number of distributions so far, which is the id of the last one; the first is 1.
    function s_currentDistributionId() external view returns (uint256) {
        return _progress.currentId;
    }

    /// @notice When the last distribution was made (seconds), 0 before the first.
    function s_lastDistributionTime() external view returns (uint256) {
        return _progress.lastTime;
    }

    /// @notice Years of 365 days since deployment.
    function getCurrentEra() public view returns (uint256) {
        return (block.timestamp - i_deploymentTimestamp) / Emission.ERA_SECONDS;
    }

    /// @dev Emission of an update that is executed now and covers `interval` seconds, at the rate of the era in which
    /// that time began: the update that is due when an era ends still pays for the era's last period.
    function _emissionOf(uint256 interval) internal view returns (uint256) {
        uint256 age = block.timestamp - i_deploymentTimestamp;
        uint256 start = age > interval ? age - interval : 0;
        return Emission.perUpdate(start / Emission.ERA_SECONDS, interval);
    }

    /// @dev Moves the clock of emission on and returns the new distribution's id.
    function _advance(uint256 interval) private returns (uint256 distributionId) {
        Progress memory progress = _progress;
        if (interval == 0 || interval > block.timestamp - progress.paidUntil) revert Token__DistributionTooEarly();
        progress.paidUntil += uint64(interval);
        // Time that nobody paid for beyond one period is gone: it cannot be paid for later.
        uint256 oldest = block.timestamp - interval;
        if (progress.paidUntil < oldest) progress.paidUntil = uint64(oldest);
        progress.lastTime = uint64(block.timestamp);
        distributionId = ++progress.currentId;
        _progress = progress;
    }

    /// @dev Opens the workers' pool for claims; `payments` is the part of its SNO that exists already.
    function _store(
        uint256 distributionId,
        bytes32 merkleRoot,
        uint256 totalCapacity,
        PaymentAmounts memory workers,
        uint128 payments
    ) private {
        _emission.allocated += workers.sno - payments;
        s_totalUnclaimed.sno += workers.sno;
        s_totalUnclaimed.eth += workers.eth;
        Distribution storage distribution = _distributions[distributionId];
        distribution.merkleRoot = merkleRoot;
        distribution.totalCapacity = totalCapacity.toUint112();
        distribution.timestamp = uint48(block.timestamp);
        distribution.payments = uint256(payments).toUint96();
        distribution.workerReward = workers;
        distribution.unclaimed = workers;
    }

    /// @dev Pays the treasury its share, and what expires with this distribution.
    function _payTreasury(uint256 distributionId, PaymentAmounts memory share) private {
        emit DAORewardsDistributed(distributionId, share.sno, share.eth);
        if (distributionId > CLAIMABLE_UPDATES + 1) {
            PaymentAmounts memory expired = _expire(distributionId - CLAIMABLE_UPDATES - 1);
            share.sno += expired.sno;
            share.eth += expired.eth;
        }
        _transfer(address(this), s_dao, share.sno);
        _sendEthOrCredit(s_dao, share.eth);
    }

    /// @dev Pays the approving validators. ETH waits for each of them to collect: none can hold up an update. So does
    /// SNO where they are so many that sending it (with a checkpoint of votes for each) might not fit into a block.
    function _payValidators(uint256 distributionId, address[] calldata validators, PaymentAmounts memory pool)
        private
        returns (PaymentAmounts memory paid)
    {
        uint128 count = validators.length.toUint128();
        paid = _shareOf(pool, VALIDATOR_PERCENT);
        uint128 sno = paid.sno / count;
        uint128 eth = paid.eth / count;
        bool push = count <= PUSH_MAX;
        for (uint256 i = 0; i < count; ++i) {
            if (push) _transfer(address(this), validators[i], sno);
            if (push && eth == 0) continue;
            Credit storage credit = s_credits[validators[i]];
            if (!push) credit.sno += uint112(sno);
            credit.eth += eth;
        }
        paid = PaymentAmounts(sno * count, eth * count);
        if (!push) s_totalCredits.sno += paid.sno;
        s_totalCredits.eth += paid.eth;
        emit ValidatorRewardsDistributed(distributionId, validators, paid.sno, paid.eth);
    }

    /// @dev Checks and books one claim of the caller; `failure` is an error's selector, or zero. `handedOn` is the
    /// part of the SNO that came from payments; the rest is to be minted.
    function _claim(uint256 distributionId, uint256 capacity, bytes32[] calldata proof)
        private
        returns (bytes4 failure, string memory reason, PaymentAmounts memory reward, uint256 handedOn)
    {
        Distribution storage d = _distributions[distributionId];
        bytes32 root = d.merkleRoot;
        if (root == bytes32(0)) {
            uint256 current = _progress.currentId;
            // No sum: an id near 2^256 must not overflow and fail a whole batch.
            if (distributionId != 0 && distributionId < current && current - distributionId > CLAIMABLE_UPDATES) {
                return (Token__DistributionTooOld.selector, "expired", reward, 0);
            }
            return (Token__UnknownDistribution.selector, "unknown distribution", reward, 0);
        }
        if (_isMarked(msg.sender, distributionId)) {
            return (Token__RewardsAlreadyClaimed.selector, "already claimed", reward, 0);
        }
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(msg.sender, capacity, distributionId))));
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) {
            return (Token__InvalidMerkleProof.selector, "invalid proof", reward, 0);
        }
        uint256 totalCapacity = d.totalCapacity;
        PaymentAmounts memory pool = d.workerReward;
        PaymentAmounts memory left = d.unclaimed;
        bool covered = capacity <= totalCapacity;
        if (covered) {
            // Both factors are below 2^128.
            reward.sno = uint128((pool.sno * capacity) / totalCapacity);
            reward.eth = uint128((pool.eth * capacity) / totalCapacity);
            covered = reward.sno <= left.sno && reward.eth <= left.eth;
        }
        if (!covered) return (Token__DistributionExhausted.selector, "exhausted", PaymentAmounts(0, 0), 0);
        uint256 payments = d.payments;
        handedOn = _paymentsIn(left.sno, payments, pool.sno);
        left.sno -= reward.sno;
        left.eth -= reward.eth;
        handedOn -= _paymentsIn(left.sno, payments, pool.sno);
        d.unclaimed = left;
        _mark(msg.sender, distributionId);
        emit TokenRewardsClaimed(distributionId, msg.sender, reward.sno);
        if (reward.eth != 0) emit EthRewardsClaimed(msg.sender, reward.eth);
    }

    /// @dev Pays the caller what {_claim} booked.
    function _pay(PaymentAmounts memory reward, uint256 handedOn) private {
        PaymentAmounts memory total = s_totalUnclaimed;
        total.sno -= reward.sno;
        total.eth -= reward.eth;
        s_totalUnclaimed = total;
        if (reward.sno > handedOn) _mint(msg.sender, reward.sno - handedOn);
        if (handedOn != 0) _handOn(msg.sender, handedOn);
        _sendEthOrCredit(msg.sender, reward.eth);
    }

    /// @dev The part of `unclaimed` SNO that came from payments. What a claim takes is the difference that it makes
    /// here, so all parts add up to the payments whatever the order and the rounding, and none exceeds its reward.
    function _paymentsIn(uint256 unclaimed, uint256 payments, uint256 pool) private pure returns (uint256) {
        return payments == 0 ? 0 : (unclaimed * payments) / pool;
    }

    /// @dev Ends a distribution: its unclaimed emission is never minted, its unclaimed payments are returned for the
    /// treasury.
    function _expire(uint256 distributionId) private returns (PaymentAmounts memory rest) {
        Distribution storage d = _distributions[distributionId];
        if (d.merkleRoot == bytes32(0)) return rest;
        PaymentAmounts memory unclaimed = d.unclaimed;
        rest = PaymentAmounts(
            uint128(_paymentsIn(unclaimed.sno, d.payments, d.workerReward.sno)), unclaimed.eth
        );
        s_totalUnclaimed.sno -= unclaimed.sno;
        s_totalUnclaimed.eth -= unclaimed.eth;
        _emission.allocated -= unclaimed.sno - rest.sno;
        delete _distributions[distributionId];
        emit DistributionExpired(distributionId);
    }

    /// @dev `percent` of both amounts, each rounded down.
    function _shareOf(PaymentAmounts memory amounts, uint256 percent) private pure returns (PaymentAmounts memory) {
        return PaymentAmounts(
            uint128((uint256(amounts.sno) * percent) / 100), uint128((uint256(amounts.eth) * percent) / 100)
        );
    }
}
