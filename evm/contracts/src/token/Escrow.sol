// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Collateral} from "./Collateral.sol";

/// @title Escrow of job payments
/// @notice A payment is escrowed when a job is requested and then either released (it waits in {s_released} for the
/// next distribution) or refunded. The escrowed tokens themselves are paid out: a payment never mints anything.
abstract contract Escrow is Collateral {
    using SafeCast for uint256;

    /// @notice What an account has in escrow.
    mapping(address account => PaymentAmounts) public s_escrowedPayments;
    /// @notice All that is in escrow.
    PaymentAmounts public s_totalEscrowed;
    /// @notice Payments of completed jobs that the next distribution with capacity pays out.
    PaymentAmounts public s_released;

    event PaymentEscrowed(address indexed user, uint256 payment);
    event EthPaymentEscrowed(address indexed user, uint256 payment);
    event EscrowReleased(address indexed user, uint256 amount);
    event EthEscrowReleased(address indexed user, uint256 amount);
    event EscrowRefunded(address indexed user, uint256 amount);
    event EthEscrowRefunded(address indexed user, uint256 amount);

    function escrowPayment(address user, uint256 payment) external onlyCore {
        if (payment == 0 || balanceOf(user) < payment) revert Token__InsufficientBalance();
        uint128 amount = payment.toUint128();
        s_escrowedPayments[user].sno += amount;
        s_totalEscrowed.sno += amount;
        _transfer(user, address(this), payment);
        emit PaymentEscrowed(user, payment);
    }

    function escrowEthPayment(address user, uint256 payment) external payable onlyCore {
        if (payment == 0 || msg.value != payment) revert Token__InsufficientBalance();
        uint128 amount = payment.toUint128();
        s_escrowedPayments[user].eth += amount;
        s_totalEscrowed.eth += amount;
        s_totalETHDeposited += payment;
        emit EthPaymentEscrowed(user, payment);
    }

    function releaseEscrowedPayment(address user, uint256 amount) external onlyCore {
        s_released.sno += _leaveEscrow(user, amount);
        emit EscrowReleased(user, amount);
    }

    function releaseEscrowedEthPayment(address user, uint256 amount) external onlyCore {
        s_released.eth += _leaveEthEscrow(user, amount);
        emit EthEscrowReleased(user, amount);
    }

    function refundEscrowedPayment(address user, uint256 amount) external onlyCore {
        _leaveEscrow(user, amount);
        _transfer(address(this), user, amount);
        emit EscrowRefunded(user, amount);
    }

    function refundEscrowedEthPayment(address user, uint256 amount) external onlyCore nonReentrant {
        uint128 payment = _leaveEthEscrow(user, amount);
        emit EthEscrowRefunded(user, amount);
        _sendEthOrCredit(user, payment);
    }

    /// @notice What `user` has in escrow.
    function getEscrowedPayments(address user) external view returns (PaymentAmounts memory) {
        return s_escrowedPayments[user];
    }

    function _leaveEscrow(address user, uint256 payment) private returns (uint128 amount) {
        amount = payment.toUint128();
        if (amount == 0 || s_escrowedPayments[user].sno < amount) revert Token__InsufficientBalance();
        s_escrowedPayments[user].sno -= amount;
        s_totalEscrowed.sno -= amount;
    }

    function _leaveEthEscrow(address user, uint256 payment) private returns (uint128 amount) {
        amount = payment.toUint128();
        if (amount == 0 || s_escrowedPayments[user].eth < amount) revert Token__InsufficientBalance();
        s_escrowedPayments[user].eth -= amount;
        s_totalEscrowed.eth -= amount;
    }
}
