// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title Approval threshold
library Threshold {
    /// @notice Approvals needed so that strictly more than `percent` of `count` validators approve; all of them where
    /// more than all would be needed (100 %). At least one, so that a round that everybody has left cannot be executed.
    function required(uint256 count, uint256 percent) internal pure returns (uint256) {
        uint256 needed = (percent * count) / 100 + 1;
        return needed > count && count != 0 ? count : needed;
    }

    /// @notice How many proposers are drawn from `count` active validators.
    function proposers(uint256 count) internal pure returns (uint256) {
        if (count <= 1) return count;
        if (count <= 4) return 2;
        if (count <= 9) return 3;
        return 5;
    }
}
