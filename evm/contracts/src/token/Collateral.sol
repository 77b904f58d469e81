// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Balances} from "./Balances.sol";
import {TokenBase} from "./TokenBase.sol";

/// @title Collateral of validators and users
/// @notice Lock, unlock (30 days from request to payment), top up after a raise, slash. A validator's and a user's
/// collateral are separate records, so an account may be both.
abstract contract Collateral is TokenBase {
    using SafeCast for uint256;

    struct Lock {
        /// SNO wei.
        uint128 amount;
        /// When it can be withdrawn (seconds); 0 while no unlock was asked for.
        uint64 unlockTime;
        bool exists;
    }

    struct Requirement {
        /// What a newcomer locks (SNO wei).
        uint128 amount;
        /// What was enforced before the last raise (SNO wei).
        uint128 previous;
        /// Until when `previous` is enough for those already locked (seconds).
        uint64 graceUntil;
    }

    /// @notice From the request of an unlock to its payment.
    uint256 public constant UNLOCK_PERIOD = 30 days;
    /// @notice Time to top up after a raise.
    uint256 public constant TOP_UP_PERIOD = 30 days;

    /// @notice Bounds of both kinds of collateral (SNO wei): one of nothing would make identities free, and one that
    /// nobody can pay would make every validator inactive.
    uint256 public constant MIN_COLLATERAL = 1e18;
    uint256 public constant MAX_COLLATERAL = 10_000_000e18;

    mapping(address validator => Lock) private _validatorLocks;
    mapping(address user => Lock) private _userLocks;
    Requirement private _validatorRequirement = Requirement(1_000_000e18, 1_000_000e18, 0);
    Requirement private _userRequirement = Requirement(100e18, 100e18, 0);
    /// @notice All collateral that the contract holds (SNO wei).
    uint256 public s_totalLocked;

    event TokensLocked(address indexed user, bool isValidator, uint256 amount);
    event TokensUnlocked(address indexed user, bool isValidator, uint256 amount);
    event UnlockInitiated(address indexed user, uint256 unlockTime);
    event UserLockAmountUpdated(uint256 oldAmount, uint256 newAmount);
    event ValidatorLockAmountUpdated(uint256 oldAmount, uint256 newAmount);
    event ValidatorSlashed(address indexed validator, uint256 slashedAmount, uint256 remainingAmount);
    event SlashedTokensBurned(uint256 amount);

    error Token__AlreadyLocked();
    error Token__NotLocked();
    error Token__NotValidator();
    error Token__UnlockPending();
    /// @notice A collateral must be {MIN_COLLATERAL} to {MAX_COLLATERAL}.
    error Token__InvalidLockAmount();

    /// @notice Locks the collateral of `user`; Core calls, for a registration that `user` itself sent.
    function lockTokens(address user, bool isValidator) external onlyCore {
        _lock(user, isValidator);
    }

    /// @notice Starts an unlock, or pays it out once {UNLOCK_PERIOD} is over. Until then it can be slashed.
    function unlockTokens(address user, bool isValidator) external onlyCore {
        Lock storage lock = _lockOf(user, isValidator);
        if (!lock.exists) revert Token__NotLocked();
        if (lock.unlockTime == 0) {
            lock.unlockTime = uint64(block.timestamp + UNLOCK_PERIOD);
            emit UnlockInitiated(user, lock.unlockTime);
            return;
        }
        if (block.timestamp < lock.unlockTime) revert Token__UnlockPending();
        uint256 amount = lock.amount;
        if (isValidator) delete _validatorLocks[user];
        else delete _userLocks[user];
        s_totalLocked -= amount;
        // Past the votes' hook: the owner had this voting power all along.
        Balances._update(address(this), user, amount);
        emit TokensUnlocked(user, isValidator, amount);
    }

    /// @notice Adds to the caller's collateral what a raise by governance asks.
    function topUpCollateral(bool isValidator) external {
        Lock storage lock = _lockOf(msg.sender, isValidator);
        if (!lock.exists) revert Token__NotLocked();
        if (lock.unlockTime != 0) revert Token__UnlockPending();
        uint128 required = _requirement(isValidator).amount;
        if (lock.amount >= required) revert Token__AlreadyLocked();
        uint256 added = required - lock.amount;
        lock.amount = required;
        _take(msg.sender, isValidator, added);
    }

    /// @notice Burns up to `amount` of a validator's collateral and ends its role at once; the rest can be withdrawn
    /// when the unlock period is over.
    function slashAndUnlockValidator(address validator, uint256 amount) external onlyDAO {
        Lock storage lock = _validatorLocks[validator];
        if (!lock.exists) revert Token__NotValidator();
        uint256 slashed = amount < lock.amount ? amount : lock.amount;
        uint256 remaining = lock.amount - slashed;
        if (remaining == 0) {
            delete _validatorLocks[validator];
        } else {
            lock.amount = uint128(remaining);
            if (lock.unlockTime == 0) {
                lock.unlockTime = uint64(block.timestamp + UNLOCK_PERIOD);
                emit UnlockInitiated(validator, lock.unlockTime);
            }
        }
        s_totalLocked -= slashed;
        s_totalBurned += slashed;
        Balances._update(address(this), address(0), slashed);
        _recordTotalVotes();
        _moveDelegateVotes(delegates(validator), address(0), slashed);
        emit SlashedTokensBurned(slashed);
        emit ValidatorSlashed(validator, slashed, remaining);
        s_smartnodesCore.validatorSlashed(validator);
    }

    /// @notice Sets a validator's collateral (SNO wei). Those already locked have {TOP_UP_PERIOD} to follow a raise.
    function setValidatorLockAmount(uint256 newAmount) external onlyDAO {
        emit ValidatorLockAmountUpdated(_validatorRequirement.amount, newAmount);
        _setRequirement(_validatorRequirement, newAmount);
    }

    /// @notice Sets a user's collateral (SNO wei). Those already locked have {TOP_UP_PERIOD} to follow a raise.
    function setUserLockAmount(uint256 newAmount) external onlyDAO {
        emit UserLockAmountUpdated(_userRequirement.amount, newAmount);
        _setRequirement(_userRequirement, newAmount);
    }

    /// @notice What a new validator locks (SNO wei).
    function s_validatorLockAmount() external view returns (uint256) {
        return _validatorRequirement.amount;
    }

    /// @notice What a new user locks (SNO wei).
    function s_userLockAmount() external view returns (uint256) {
        return _userRequirement.amount;
    }

    /// @notice Whether `user` has collateral of either kind that is not being unlocked.
    function isLocked(address user) external view returns (bool) {
        return isLockedAs(user, true) || isLockedAs(user, false);
    }

    function isLockedAs(address user, bool isValidator) public view returns (bool) {
        Lock storage lock = _lockOf(user, isValidator);
        return lock.exists && lock.unlockTime == 0;
    }

    function hasSufficientCollateral(address user, bool isValidator) external view returns (bool) {
        return _isSufficient(_lockOf(user, isValidator), _enforced(_requirement(isValidator)));
    }

    function sufficientCollateral(address[] calldata accounts) external view returns (bool[] memory sufficient) {
        uint256 enforced = _enforced(_validatorRequirement);
        sufficient = new bool[](accounts.length);
        for (uint256 i = 0; i < accounts.length; ++i) {
            sufficient[i] = _isSufficient(_validatorLocks[accounts[i]], enforced);
        }
    }

    /// @notice One collateral record: amount (SNO wei), when it can be withdrawn (seconds, 0 = no unlock asked for),
    /// and whether it exists at all.
    function lockOf(address user, bool isValidator)
        external
        view
        returns (uint256 amount, uint256 unlockTime, bool exists)
    {
        Lock storage lock = _lockOf(user, isValidator);
        return (lock.amount, lock.unlockTime, lock.exists);
    }

    /// @notice The validator's record of `user`, or else its user's record.
    function getLockInfo(address user)
        public
        view
        returns (bool locked, bool isValidator, uint256 timestamp, uint256 lockAmount)
    {
        isValidator = _validatorLocks[user].exists;
        Lock storage lock = _lockOf(user, isValidator);
        return (lock.exists && lock.unlockTime == 0, isValidator, lock.unlockTime, lock.amount);
    }

    /// @notice As {getLockInfo}.
    function s_lockedTokens(address user)
        external
        view
        returns (bool locked, bool isValidator, uint128 unlockTime, uint256 lockedAmount)
    {
        uint256 time;
        (locked, isValidator, time, lockedAmount) = getLockInfo(user);
        unlockTime = uint128(time);
    }

    /// @dev Locks what the kind asks today. A validator that has not delegated its votes gets them itself, so that
    /// its collateral counts in governance.
    function _lock(address user, bool isValidator) internal {
        Lock storage lock = _lockOf(user, isValidator);
        if (lock.exists) revert Token__AlreadyLocked();
        uint128 amount = _requirement(isValidator).amount;
        lock.amount = amount;
        lock.exists = true;
        _take(user, isValidator, amount);
        if (isValidator) s_credits[user].kept = true;
        if (isValidator && delegates(user) == address(0)) _delegate(user, user);
    }

    /// @dev Takes collateral past the votes' hook, so that the owner's voting power stays.
    function _take(address user, bool isValidator, uint256 amount) private {
        if (balanceOf(user) < amount) revert Token__InsufficientBalance();
        s_totalLocked += amount;
        Balances._update(user, address(this), amount);
        emit TokensLocked(user, isValidator, amount);
    }

    function _setRequirement(Requirement storage requirement, uint256 newAmount) private {
        if (newAmount < MIN_COLLATERAL || newAmount > MAX_COLLATERAL) revert Token__InvalidLockAmount();
        requirement.previous = _enforced(requirement).toUint128();
        requirement.amount = uint128(newAmount);
        requirement.graceUntil = uint64(block.timestamp + TOP_UP_PERIOD);
    }

    /// @dev What those already locked must hold now: the lower of the present and the previous amount while the time
    /// to top up runs, so that a cut works at once and a raise does not.
    function _enforced(Requirement storage requirement) private view returns (uint256) {
        uint128 amount = requirement.amount;
        uint128 previous = requirement.previous;
        return block.timestamp < requirement.graceUntil && previous < amount ? previous : amount;
    }

    function _isSufficient(Lock storage lock, uint256 enforced) private view returns (bool) {
        return lock.exists && lock.unlockTime == 0 && lock.amount >= enforced;
    }

    function _requirement(bool isValidator) private view returns (Requirement storage) {
        return isValidator ? _validatorRequirement : _userRequirement;
    }

    function _lockOf(address user, bool isValidator) private view returns (Lock storage) {
        return isValidator ? _validatorLocks[user] : _userLocks[user];
    }

    function _lockedOf(address account) internal view override returns (uint256) {
        return uint256(_validatorLocks[account].amount) + _userLocks[account].amount;
    }
}
