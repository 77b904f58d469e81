// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {Balances} from "./Balances.sol";
import {ISmartnodesERC20} from "../interfaces/ISmartnodesERC20.sol";
import {ISmartnodesCore} from "../interfaces/ISmartnodesCore.sol";
import {ISmartnodesCoordinator} from "../interfaces/ISmartnodesCoordinator.sol";

/// @title The token's foundation: SNO with permits and votes, its three authorities, and ETH that it holds for others
/// @dev The contract's own balance is what it holds for others: collateral, escrow, released payments and the part of
/// worker pools that came from payments. Nobody can send SNO to it by mistake.
abstract contract TokenBase is ISmartnodesERC20, Balances, ERC20Permit, ERC20Votes, ReentrancyGuardTransient {
    /// @notice The timelock: governance's authority and the treasury.
    address public immutable s_dao;
    /// @notice The Coordinator's proxy.
    ISmartnodesCoordinator public immutable s_smartnodesCoordinator;
    /// @notice Core's proxy.
    ISmartnodesCore public immutable s_smartnodesCore;
    /// @notice When the token was deployed (seconds): the start of era 0 and of the grid of due times.
    uint256 public immutable i_deploymentTimestamp;

    /// @dev In one storage slot, because an update may have to write a thousand of them.
    struct Credit {
        /// SNO wei; the supply stays far below 2^112.
        uint112 sno;
        /// ETH wei.
        uint128 eth;
        /// Set when a validator locks its collateral, so that its slot is never empty: to fill an empty one costs
        /// 17,100 gas more, and an update that fills a thousand would not fit into a transaction.
        bool kept;
    }

    /// @notice ETH (wei) that came in, escrow and donations alike.
    uint256 public s_totalETHDeposited;
    /// @notice What an account may collect with {withdrawSno} and {withdrawEth}.
    mapping(address account => Credit) public s_credits;
    /// @notice Sum of {s_credits}.
    PaymentAmounts public s_totalCredits;
    /// @notice SNO (wei) burned by slashing.
    uint256 public s_totalBurned;

    event ETHDeposited(address indexed from, uint256 amount);
    event ETHWithdrawn(address indexed to, uint256 amount);
    /// @notice `amount` wei that `account` refused wait for it in {s_credits}.
    event EthCredited(address indexed account, uint256 amount);
    event DAOSet(address indexed dao);
    event SmartnodesSet(address indexed coreContract, address indexed coordinatorContract);

    error Token__InvalidAddress();
    error Token__InvalidArrayLength();
    error Token__InsufficientBalance();
    error Token__OnlyDAO();
    error Token__OnlyCore();
    error Token__ETHTransferFailed();

    modifier onlyDAO() {
        _requireDAO();
        _;
    }

    modifier onlyCore() {
        _requireCore();
        _;
    }

    constructor(address core, address coordinator, address dao) ERC20("Smartnodes", "SNO") ERC20Permit("Smartnodes") {
        if (core == address(0) || coordinator == address(0) || dao == address(0)) revert Token__InvalidAddress();
        s_smartnodesCore = ISmartnodesCore(core);
        s_smartnodesCoordinator = ISmartnodesCoordinator(coordinator);
        s_dao = dao;
        i_deploymentTimestamp = block.timestamp;
        emit SmartnodesSet(core, coordinator);
        emit DAOSet(dao);
    }

    /// @notice Takes a donation; {sweepDonations} sends it to the treasury.
    receive() external payable {
        s_totalETHDeposited += msg.value;
        emit ETHDeposited(msg.sender, msg.value);
    }

    /// @notice ETH (wei) that went out. Derived, which spares every claim the bookkeeping; ETH that is forced on the
    /// contract (by a self-destruct) counts as if it had not gone out.
    function s_totalETHWithdrawn() external view returns (uint256) {
        uint256 held = address(this).balance;
        return s_totalETHDeposited > held ? s_totalETHDeposited - held : 0;
    }

    /// @notice Collects the caller's ETH credit, to any address: a contract that cannot take ETH itself names another.
    function withdrawEth(address payable to) external nonReentrant {
        uint128 amount = s_credits[msg.sender].eth;
        if (amount == 0) revert Token__InsufficientBalance();
        s_credits[msg.sender].eth = 0;
        s_totalCredits.eth -= amount;
        if (!_trySendEth(to, amount)) revert Token__ETHTransferFailed();
    }

    /// @notice Collects the caller's SNO credit.
    function withdrawSno() external {
        uint128 amount = s_credits[msg.sender].sno;
        if (amount == 0) revert Token__InsufficientBalance();
        s_credits[msg.sender].sno = 0;
        s_totalCredits.sno -= amount;
        _handOn(msg.sender, amount);
    }

    /// @notice Sends ETH that nobody owns (donations) to the treasury; anyone may call.
    function sweepDonations() external nonReentrant {
        uint256 surplus = address(this).balance - _accountedEth();
        if (surplus == 0) revert Token__InsufficientBalance();
        if (!_trySendEth(s_dao, surplus)) revert Token__ETHTransferFailed();
    }

    /// @inheritdoc ERC20
    /// @dev Refuses the token itself as receiver: tokens sent there could never come back.
    function transfer(address to, uint256 value) public override returns (bool) {
        if (to == address(this)) revert Token__InvalidAddress();
        return super.transfer(to, value);
    }

    /// @inheritdoc ERC20
    /// @dev Refuses the token itself as receiver: tokens sent there could never come back.
    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        if (to == address(this)) revert Token__InvalidAddress();
        return super.transferFrom(from, to, value);
    }

    /// @notice The time of votes: chain seconds, so that a day of governance is a day on any chain.
    function clock() public view override returns (uint48) {
        return uint48(block.timestamp);
    }

    /// @notice How {clock} counts (ERC-6372).
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    /// @dev A function of its own, because what a modifier says itself is in the code once for each use.
    function _requireDAO() private view {
        if (msg.sender != s_dao) revert Token__OnlyDAO();
    }

    /// @dev As {_requireDAO}.
    function _requireCore() private view {
        if (msg.sender != address(s_smartnodesCore)) revert Token__OnlyCore();
    }

    /// @dev ETH that somebody owns.
    function _accountedEth() internal view virtual returns (uint256);

    /// @dev Collateral of `account`, whose voting power it keeps.
    function _lockedOf(address account) internal view virtual returns (uint256);

    /// @dev Sends ETH without letting the receiver's answer cost or revert anything.
    function _trySendEth(address to, uint256 amount) internal returns (bool sent) {
        sent = LowLevelCall.callNoReturn(to, amount, "");
        if (sent) emit ETHWithdrawn(to, amount);
    }

    /// @dev Sends ETH; what the receiver refuses waits for it in {s_credits}.
    function _sendEthOrCredit(address to, uint128 amount) internal {
        if (amount == 0 || _trySendEth(to, amount)) return;
        s_credits[to].eth += amount;
        s_totalCredits.eth += amount;
        emit EthCredited(to, amount);
    }

    /// @dev Gives SNO that the contract holds to `account`; the contract's own votes do not exist.
    function _handOn(address account, uint256 amount) internal {
        Balances._update(address(this), account, amount);
        _moveDelegateVotes(address(0), delegates(account), amount);
    }

    /// @dev Brings the total of the votes up to the supply. A claim mints without doing this, because a checkpoint
    /// of the total would cost every worker some 29,000 gas: the next state update (or burn) records all at once.
    function _recordTotalVotes() internal {
        uint256 recorded = _getTotalSupply();
        uint256 supply = totalSupply();
        // The contract itself never delegates, so naming it as the other party moves no votes.
        if (supply > recorded) super._transferVotingUnits(address(0), address(this), supply - recorded);
        else if (supply < recorded) super._transferVotingUnits(address(this), address(0), recorded - supply);
    }

    function balanceOf(address account) public view override(ERC20, Balances) returns (uint256) {
        return super.balanceOf(account);
    }

    function totalSupply() public view override(ERC20, Balances) returns (uint256) {
        return super.totalSupply();
    }

    /// @dev What a balance has room for.
    function _maxSupply() internal pure override returns (uint256) {
        return type(uint96).max;
    }

    function _update(address from, address to, uint256 value) internal override(Balances, ERC20, ERC20Votes) {
        super._update(from, to, value);
    }

    /// @dev See {_recordTotalVotes}: a mint moves the receiver's votes only.
    function _transferVotingUnits(address from, address to, uint256 amount) internal override {
        if (from == address(0)) _moveDelegateVotes(address(0), delegates(to), amount);
        else super._transferVotingUnits(from, to, amount);
    }

    /// @dev Locked collateral keeps its owner's voting power.
    function _getVotingUnits(address account) internal view override returns (uint256) {
        return balanceOf(account) + _lockedOf(account);
    }
}
