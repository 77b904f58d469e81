// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ISmartnodesERC20} from "./interfaces/ISmartnodesERC20.sol";
import {ISmartnodesCore, ReputationChange} from "./interfaces/ISmartnodesCore.sol";
import {ISmartnodesCoordinator} from "./interfaces/ISmartnodesCoordinator.sol";

/// @title Smartnodes Core
/// @notice Credentials and reputation of nodes, the registry of networks, and jobs with their escrow. Upgradeable by
/// the timelock; new storage goes to the end.
contract SmartnodesCore is ISmartnodesCore, Initializable, UUPSUpgradeable, ReentrancyGuardTransient {
    /// @notice A job's state. A job id is never used again, whatever becomes of the job.
    enum JobState {
        None,
        Open,
        Complete,
        Cancelled
    }

    struct Node {
        bytes32 publicKeyHash;
        bool exists;
    }

    struct Job {
        address owner;
        uint8 networkId;
        JobState state;
        bool payWithSNO;
        uint40 createdAt;
        uint128 payment;
        uint64 cancellableAt;
    }

    struct Network {
        string name;
        bool active;
    }

    struct Reputation {
        /// The last round that changed it, plus one; 0 while it never changed.
        uint64 changedInRound;
        uint16 score;
    }

    /// @notice Reputation of an account that no update has changed.
    uint16 public constant INITIAL_REPUTATION = 500;
    /// @notice The best reputation; the worst is 0.
    uint16 public constant MAX_REPUTATION = 1_000;
    /// @notice The most that one update changes a reputation.
    int16 public constant MAX_REPUTATION_STEP = 100;
    /// @notice Update intervals after which an open job can be cancelled.
    uint256 public constant CANCEL_AFTER_INTERVALS = 3;
    /// @notice The most capacities that a job may name, and the longest name of a network in bytes.
    uint256 public constant MAX_LENGTH = 64;

    ISmartnodesERC20 private immutable _token;
    ISmartnodesCoordinator private immutable _coordinator;
    address private immutable _timelock;

    mapping(address account => Node) private _validators;
    mapping(address account => Node) private _users;
    mapping(address account => Reputation) private _reputations;
    mapping(bytes32 jobId => Job) private _jobs;
    uint256 private _jobCount;
    /// Never shortened, so that an id keeps its name for the jobs of a removed network.
    Network[] private _networks;
    /// Id plus one of an active network.
    mapping(bytes32 nameHash => uint256) private _networkIds;

    event JobCreated(bytes32 indexed jobId, bytes32 indexed owner, string network, uint128 payment, bool payWithSNO);
    /// @notice The rest of what is known of a job when it is created: its owner's address and what it asks for.
    event JobRequested(bytes32 indexed jobId, address indexed owner, bytes32 jobHash, uint256[] capacities);
    event JobCompleted(bytes32 indexed jobId, uint128 payment, bool payWithSNO);
    event JobCancelled(bytes32 indexed jobId, address indexed owner, uint128 payment);
    /// @notice An update named a job that was not open: `state` says why it was passed over.
    event JobSkipped(bytes32 indexed jobId, JobState state);
    event UserCreated(address indexed account, bytes32 publicKeyHash);
    event ValidatorCreated(address indexed account, bytes32 publicKeyHash);
    event PublicKeyHashChanged(address indexed account, bytes32 publicKeyHash);
    event NodeRetired(address indexed account, bool isValidator);
    event ReputationChanged(address indexed account, uint16 score);
    event NetworkAdded(uint8 indexed id, string name);
    event NetworkRemoved(uint8 indexed id, string name);

    error Core__InsufficientBalance();
    error Core__InvalidArrayLength();
    error Core__InvalidPayment();
    error Core__InvalidUser();
    error Core__JobExists();
    error Core__NodeDoesNotExist();
    error Core__NodeExists();
    error Core__NotToken();
    error Core__NotValidatorMultisig();
    error Core__InvalidPublicKeyHash();
    error Core__InvalidAddress();
    error Core__NotDAO();
    error Core__UnknownNetwork();
    error Core__NetworkExists();
    error Core__InvalidNetworkName();
    /// @notice The caller does not own an open job with that id.
    error Core__NotJobOwner();
    error Core__JobNotOpen();
    /// @notice It can be cancelled at `cancellableAt` (seconds).
    error Core__TooEarlyToCancel(uint256 cancellableAt);

    modifier onlyCoordinator() {
        if (msg.sender != address(_coordinator)) revert Core__NotValidatorMultisig();
        _;
    }

    modifier onlyGovernance() {
        if (msg.sender != _timelock && msg.sender != address(_coordinator)) revert Core__NotDAO();
        _;
    }

    /// @param token the token
    /// @param coordinator the Coordinator's proxy
    /// @param timelock the authority that upgrades and governs
    constructor(address token, address coordinator, address timelock) {
        if (token == address(0) || coordinator == address(0) || timelock == address(0)) revert Core__InvalidAddress();
        _token = ISmartnodesERC20(token);
        _coordinator = ISmartnodesCoordinator(coordinator);
        _timelock = timelock;
        _disableInitializers();
    }

    /// @notice Called once, by the proxy's constructor: genesis nodes get the credential for the collateral that the
    /// token locked for them.
    function initialize(
        address[] calldata genesisNodes,
        bytes32[] calldata publicKeyHashes,
        string[] calldata networkNames
    ) external initializer {
        if (genesisNodes.length != publicKeyHashes.length) revert Core__InvalidArrayLength();
        for (uint256 i = 0; i < genesisNodes.length; ++i) {
            if (!_token.isLockedAs(genesisNodes[i], true)) revert Core__NodeDoesNotExist();
            _register(_validators[genesisNodes[i]], publicKeyHashes[i]);
            emit ValidatorCreated(genesisNodes[i], publicKeyHashes[i]);
        }
        for (uint256 i = 0; i < networkNames.length; ++i) {
            _addNetwork(networkNames[i]);
        }
    }

    // ---- nodes

    /// @notice Registers the caller as a user and locks its collateral.
    function createUser(bytes32 publicKeyHash) external {
        _register(_users[msg.sender], publicKeyHash);
        emit UserCreated(msg.sender, publicKeyHash);
        _token.lockTokens(msg.sender, false);
    }

    /// @notice Registers the caller as a validator, locks its collateral and enters it in the validator set, where it
    /// counts from the next round.
    function createValidator(bytes32 publicKeyHash) external {
        _register(_validators[msg.sender], publicKeyHash);
        emit ValidatorCreated(msg.sender, publicKeyHash);
        _token.lockTokens(msg.sender, true);
        _coordinator.validatorRegistered(msg.sender);
    }

    /// @notice Gives up the user's role (first call), or pays the collateral out (30 days later).
    function unlockUser() external {
        if (_users[msg.sender].exists) {
            delete _users[msg.sender];
            emit NodeRetired(msg.sender, false);
        }
        _token.unlockTokens(msg.sender, false);
    }

    /// @notice Gives up the validator's role at once (first call), or pays the collateral out (30 days later).
    function unlockValidator() external {
        _retireValidator(msg.sender);
        _token.unlockTokens(msg.sender, true);
    }

    /// @notice Replaces the hash of the caller's network key in all its roles.
    function setPublicKeyHash(bytes32 publicKeyHash) external {
        if (publicKeyHash == bytes32(0)) revert Core__InvalidPublicKeyHash();
        bool isValidator = _validators[msg.sender].exists;
        if (!isValidator && !_users[msg.sender].exists) revert Core__NodeDoesNotExist();
        if (isValidator) _validators[msg.sender].publicKeyHash = publicKeyHash;
        if (_users[msg.sender].exists) _users[msg.sender].publicKeyHash = publicKeyHash;
        emit PublicKeyHashChanged(msg.sender, publicKeyHash);
    }

    /// @inheritdoc ISmartnodesCore
    function validatorSlashed(address validator) external {
        if (msg.sender != address(_token)) revert Core__NotToken();
        _retireValidator(validator);
    }

    // ---- jobs

    /// @notice Requests a paid job; the payment is escrowed from the caller, who becomes its owner.
    /// @param userHash the caller's registered key hash
    /// @param jobHash hash of the job's description; with the owner it makes the id
    /// @param network name of an active network
    /// @param capacities what the job asks for, for its workers to read in {JobRequested}
    /// @param payment SNO wei if no ETH comes with the call, else exactly the ETH that comes (wei)
    function requestJob(
        bytes32 userHash,
        bytes32 jobHash,
        string calldata network,
        uint256[] calldata capacities,
        uint128 payment
    ) external payable nonReentrant returns (bytes32 jobId) {
        Node storage user = _users[msg.sender];
        if (!user.exists || user.publicKeyHash != userHash) revert Core__InvalidUser();
        if (!_token.hasSufficientCollateral(msg.sender, false)) revert Core__InsufficientBalance();
        if (capacities.length > MAX_LENGTH) revert Core__InvalidArrayLength();
        bool payWithSNO = msg.value == 0;
        if (payment == 0 || (!payWithSNO && msg.value != payment)) revert Core__InvalidPayment();
        uint256 networkIdPlusOne = _networkIds[keccak256(bytes(network))];
        if (networkIdPlusOne == 0) revert Core__UnknownNetwork();

        jobId = jobIdOf(msg.sender, jobHash);
        if (_jobs[jobId].state != JobState.None) revert Core__JobExists();
        _jobs[jobId] = Job({
            owner: msg.sender,
            networkId: uint8(networkIdPlusOne - 1),
            state: JobState.Open,
            payWithSNO: payWithSNO,
            createdAt: uint40(block.timestamp),
            payment: payment,
            cancellableAt: uint64(block.timestamp + CANCEL_AFTER_INTERVALS * _coordinator.updateInterval())
        });
        ++_jobCount;
        emit JobCreated(jobId, userHash, network, payment, payWithSNO);
        emit JobRequested(jobId, msg.sender, jobHash, capacities);

        if (payWithSNO) _token.escrowPayment(msg.sender, payment);
        else _token.escrowEthPayment{value: msg.value}(msg.sender, payment);
    }

    /// @notice Cancels the caller's job, which no update completed in time, and refunds it.
    function cancelJob(bytes32 jobId) external nonReentrant {
        Job storage job = _jobs[jobId];
        if (job.owner != msg.sender) revert Core__NotJobOwner();
        if (job.state != JobState.Open) revert Core__JobNotOpen();
        if (block.timestamp < job.cancellableAt) revert Core__TooEarlyToCancel(job.cancellableAt);
        job.state = JobState.Cancelled;
        uint128 payment = job.payment;
        emit JobCancelled(jobId, msg.sender, payment);
        if (job.payWithSNO) _token.refundEscrowedPayment(msg.sender, payment);
        else _token.refundEscrowedEthPayment(msg.sender, payment);
    }

    /// @inheritdoc ISmartnodesCore
    function updateContract(
        bytes32[] calldata jobIds,
        bytes32 merkleRoot,
        uint256 totalCapacity,
        address[] calldata approvingValidators,
        uint256 interval,
        uint64 round,
        ReputationChange[] calldata reputationChanges
    ) external onlyCoordinator nonReentrant returns (uint256 distributionId) {
        for (uint256 i = 0; i < jobIds.length; ++i) {
            _complete(jobIds[i]);
        }
        for (uint256 i = 0; i < reputationChanges.length; ++i) {
            _changeReputation(reputationChanges[i], round);
        }
        distributionId = _token.createMerkleDistribution(merkleRoot, totalCapacity, approvingValidators, interval);
    }

    // ---- networks

    /// @notice Adds a network. Governance only.
    function addNetwork(string calldata name) external onlyGovernance {
        _addNetwork(name);
    }

    /// @notice Removes a network; its open jobs stay. Governance only.
    function removeNetwork(uint8 id) external onlyGovernance {
        if (id >= _networks.length || !_networks[id].active) revert Core__UnknownNetwork();
        Network storage network = _networks[id];
        network.active = false;
        delete _networkIds[keccak256(bytes(network.name))];
        emit NetworkRemoved(id, network.name);
    }

    // ---- views

    /// @notice Whether `account` is a validator in good standing with that network key: the credential matches, the
    /// collateral is locked and large enough, and it is in the validator set (a slashed validator is not).
    function isVerifiedValidator(address account, bytes32 publicKeyHash) external view returns (bool) {
        Node storage node = _validators[account];
        return node.exists && node.publicKeyHash == publicKeyHash && _token.hasSufficientCollateral(account, true)
            && _coordinator.isValidator(account);
    }

    /// @notice Whether `account` is registered as a user with its collateral locked and large enough.
    function isUser(address account) external view returns (bool) {
        return _users[account].exists && _token.hasSufficientCollateral(account, false);
    }

    /// @notice The hash of `account`'s network key (as a validator, or else as a user), 0 if it is not registered.
    function credentialOf(address account) external view returns (bytes32) {
        Node storage node = _validators[account];
        return node.exists ? node.publicKeyHash : _users[account].publicKeyHash;
    }

    /// @notice Reputation of `account`, 0 to 1000.
    function reputationOf(address account) public view returns (uint16) {
        Reputation storage reputation = _reputations[account];
        return reputation.changedInRound == 0 ? INITIAL_REPUTATION : reputation.score;
    }

    function isLockedValidator(address account) public view returns (bool) {
        return _validators[account].exists && _token.isLockedAs(account, true);
    }

    /// @notice Whether the collateral of a validator is locked, and the hash of its network key.
    function getValidatorInfo(address account) external view returns (bool, bytes32) {
        return (isLockedValidator(account), _validators[account].publicKeyHash);
    }

    /// @notice A validator's record.
    function validators(address account) external view returns (bytes32 publicKeyHash, bool locked, bool exists) {
        Node storage node = _validators[account];
        return (node.publicKeyHash, isLockedValidator(account), node.exists);
    }

    /// @notice A user's record.
    function users(address account) external view returns (bytes32 publicKeyHash, bool locked, bool exists) {
        Node storage node = _users[account];
        return (node.publicKeyHash, node.exists && _token.isLockedAs(account, false), node.exists);
    }

    /// @notice The id of the job that `owner` requests with `jobHash`: nobody else can take it.
    function jobIdOf(address owner, bytes32 jobHash) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), owner, jobHash));
    }

    /// @notice A job. `state`: 0 none, 1 open, 2 complete, 3 cancelled; times in seconds.
    function getJob(bytes32 jobId)
        external
        view
        returns (
            address owner,
            uint128 payment,
            bool payWithSNO,
            uint8 state,
            uint64 createdAt,
            string memory network
        )
    {
        Job storage job = _jobs[jobId];
        if (job.state != JobState.None) network = _networks[job.networkId].name;
        return (job.owner, job.payment, job.payWithSNO, uint8(job.state), job.createdAt, network);
    }

    /// @notice When an open job can be cancelled (seconds).
    function cancellableAt(bytes32 jobId) external view returns (uint256) {
        return _jobs[jobId].cancellableAt;
    }

    /// @notice A job with its state and currency packed: see {unpackState} and {unpackPayWithSNO}.
    function jobs(bytes32 jobId) external view returns (address owner, uint128 payment, uint16 packedData) {
        Job storage job = _jobs[jobId];
        packedData = (uint16(uint8(job.state)) << 1) | (job.payWithSNO ? 1 : 0);
        return (job.owner, job.payment, packedData);
    }

    /// @notice Whether packed data says that the job pays in SNO.
    function unpackPayWithSNO(uint16 packedData) external pure returns (bool) {
        return packedData & 1 == 1;
    }

    /// @notice The state in packed data.
    function unpackState(uint16 packedData) external pure returns (uint8) {
        return uint8(packedData >> 1);
    }

    /// @notice Number of jobs requested so far.
    function getJobCount() external view returns (uint256) {
        return _jobCount;
    }

    /// @notice A network by its id.
    function networks(uint256 id) external view returns (string memory name, bool active) {
        if (id >= _networks.length) revert Core__UnknownNetwork();
        return (_networks[id].name, _networks[id].active);
    }

    /// @notice Number of networks ever added: ids run from 0 to one less.
    function networkCount() external view returns (uint256) {
        return _networks.length;
    }

    /// @notice Whether a network of that name is active.
    function isNetwork(string calldata name) external view returns (bool) {
        return _networkIds[keccak256(bytes(name))] != 0;
    }

    /// @notice The Coordinator's address.
    function getCoordinator() external view returns (address) {
        return address(_coordinator);
    }

    /// @notice The token's address.
    function getToken() external view returns (address) {
        return address(_token);
    }

    /// @notice The timelock's address.
    function getTimelock() external view returns (address) {
        return _timelock;
    }

    // ---- internals

    function _register(Node storage node, bytes32 publicKeyHash) private {
        if (publicKeyHash == bytes32(0)) revert Core__InvalidPublicKeyHash();
        if (node.exists) revert Core__NodeExists();
        node.publicKeyHash = publicKeyHash;
        node.exists = true;
    }

    function _retireValidator(address validator) private {
        if (!_validators[validator].exists) return;
        delete _validators[validator];
        emit NodeRetired(validator, true);
        _coordinator.validatorLeft(validator);
    }

    /// @dev Passes over what is not open, so that no job can block an update.
    function _complete(bytes32 jobId) private {
        Job storage job = _jobs[jobId];
        if (job.state != JobState.Open) {
            emit JobSkipped(jobId, job.state);
            return;
        }
        job.state = JobState.Complete;
        uint128 payment = job.payment;
        bool payWithSNO = job.payWithSNO;
        if (payWithSNO) _token.releaseEscrowedPayment(job.owner, payment);
        else _token.releaseEscrowedEthPayment(job.owner, payment);
        emit JobCompleted(jobId, payment, payWithSNO);
    }

    /// @dev Keeps the step and the score within their bounds and takes an account once in a round, so that a list
    /// cannot add steps up; nothing in it can block an update.
    function _changeReputation(ReputationChange calldata change, uint64 round) private {
        Reputation storage reputation = _reputations[change.account];
        if (reputation.changedInRound == round + 1) return;
        int256 step = change.delta;
        if (step > MAX_REPUTATION_STEP) step = MAX_REPUTATION_STEP;
        if (step < -MAX_REPUTATION_STEP) step = -MAX_REPUTATION_STEP;
        int256 score = int256(uint256(reputationOf(change.account))) + step;
        if (score < 0) score = 0;
        if (score > int256(uint256(MAX_REPUTATION))) score = int256(uint256(MAX_REPUTATION));
        reputation.changedInRound = round + 1;
        reputation.score = uint16(uint256(score));
        emit ReputationChanged(change.account, reputation.score);
    }

    function _addNetwork(string calldata name) private {
        uint256 length = bytes(name).length;
        if (length == 0 || length > MAX_LENGTH || _networks.length > type(uint8).max) revert Core__InvalidNetworkName();
        bytes32 nameHash = keccak256(bytes(name));
        if (_networkIds[nameHash] != 0) revert Core__NetworkExists();
        uint8 id = uint8(_networks.length);
        _networks.push(Network(name, true));
        _networkIds[nameHash] = uint256(id) + 1;
        emit NetworkAdded(id, name);
    }

    function _authorizeUpgrade(address) internal view override {
        if (msg.sender != _timelock) revert Core__NotDAO();
    }
}
