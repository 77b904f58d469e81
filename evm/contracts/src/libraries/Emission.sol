// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title Emission schedule
/// @notice How much SNO an hour of update interval is worth. Amounts are in wei (1e18 = 1 SNO), times in seconds.
library Emission {
    /// @notice Emission per hour of update interval in era 0: 45,000 SNO for an update of 8 hours.
    uint256 internal constant BASE_PER_HOUR = 5_625e18;
    /// @notice The emission per hour never falls below this: 3,360 SNO for an update of 8 hours.
    uint256 internal constant TAIL_PER_HOUR = 420e18;
    /// @notice Length of an era.
    uint256 internal constant ERA_SECONDS = 365 days;

    /// @notice Emission per hour in `era`: times 0.6 for each era, rounded down at each step, never below the tail.
    function perHour(uint256 era) internal pure returns (uint256 rate) {
        rate = BASE_PER_HOUR;
        // The tail is reached after a handful of eras, which bounds the loop whatever `era` is.
        for (uint256 i = 0; i < era; ++i) {
            rate = (rate * 3) / 5;
            if (rate <= TAIL_PER_HOUR) return TAIL_PER_HOUR;
        }
    }

    /// @notice Emission of one state update that covers `interval` seconds in `era`.
    function perUpdate(uint256 era, uint256 interval) internal pure returns (uint256) {
        return (perHour(era) * interval) / 1 hours;
    }
}
