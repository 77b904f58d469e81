// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title Balances that share their storage slot with marks of claims
/// @notice ERC-20 accounting as OpenZeppelin's, but in a slot for each account that has room for more: a worker's first
/// claim writes its balance anyway, and marking the claim there too spares it a slot of its own (22,100 gas).
/// @dev Replaces the storage of {ERC20}, whose own is never used.
abstract contract Balances is ERC20 {
    /// From the lowest bit: balance (96 bits of SNO wei, which is 79 billion SNO), the group of the account's first mark
    /// plus one (32 bits, 0 = no mark yet), marks of that group (128 bits). What is added to the word while the balance
    /// does not overflow is added to the balance.
    mapping(address account => uint256 word) private _words;
    /// Marks of all other groups.
    mapping(address account => mapping(uint256 group => uint256 marks)) private _furtherMarks;
    uint256 private _supply;

    /// @inheritdoc ERC20
    function totalSupply() public view virtual override returns (uint256) {
        return _supply;
    }

    /// @inheritdoc ERC20
    function balanceOf(address account) public view virtual override returns (uint256) {
        return uint96(_words[account]);
    }

    /// @dev As OpenZeppelin's, but for where the balances are.
    function _update(address from, address to, uint256 value) internal virtual override {
        if (from == address(0)) {
            _supply += value;
        } else {
            uint256 balance = balanceOf(from);
            if (balance < value) revert ERC20InsufficientBalance(from, balance, value);
        }
        unchecked {
            if (from != address(0)) _words[from] -= value;
            // No overflow: a balance is at most the supply, which {_maxSupply} holds to 96 bits.
            if (to == address(0)) _supply -= value;
            else _words[to] += value;
        }
        emit Transfer(from, to, value);
    }

    /// @dev Whether `account` has the mark `id`.
    function _isMarked(address account, uint256 id) internal view returns (bool) {
        uint256 word = _words[account];
        uint256 marks = _groupOf(word) == (id >> 7) + 1 ? word >> 128 : _furtherMarks[account][id >> 7];
        return (marks >> (id & 127)) & 1 != 0;
    }

    /// @dev Gives `account` the mark `id`, which is below 2^38.
    function _mark(address account, uint256 id) internal {
        uint256 word = _words[account];
        uint256 group = id >> 7;
        uint256 mark = 1 << (id & 127);
        if (_groupOf(word) == 0) word |= (group + 1) << 96;
        if (_groupOf(word) == group + 1) _words[account] = word | (mark << 128);
        else _furtherMarks[account][group] |= mark;
    }

    function _groupOf(uint256 word) private pure returns (uint256) {
        return uint32(word >> 96);
    }
}
