// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title Approval threshold
library Threshold {
    /// @notice Approvals needed so that strictly more than `percent` of `count` validators approve.
    function required(uint256 count, uint256 percent) internal pure returns (uint256) {
        return (percent * count) / 100 + 1;
    }

    /// @notice How many proposers are drawn from `count` active validators.
    function proposers(uint256 count) internal pure returns (uint256) {
        if (count <= 1) return count;
        if (count <= 4) return 2;
        if (count <= 9) return 3;
        return 5;
    }
}
