// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Emission} from "./libraries/Emission.sol";
import {TokenBase} from "./token/TokenBase.sol";
import {Distributions} from "./token/Distributions.sol";

/// @title Smartnodes token (SNO)
/// @notice ERC-20 with permits and votes, the collateral of the network's nodes, the escrow of its jobs and the
/// distribution of its rewards. It cannot be upgraded; its authorities are fixed when it is deployed.
contract SmartnodesERC20 is Distributions {
    /// @notice What each genesis node gets, all of it locked as its collateral (SNO wei).
    uint256 public constant GENESIS_AMOUNT = 1_000_000e18;
    /// @notice What all genesis nodes got (SNO wei).
    uint256 public immutable i_genesisSupply;

    event DistributionIntervalUpdated(uint256 oldInterval, uint256 newInterval);

    /// @param genesisNodes validators that start with exactly their collateral
    /// @param core Core's proxy
    /// @param coordinator the Coordinator's proxy
    /// @param dao the timelock: authority and treasury
    /// @param testnetRoot root of the rewards claimed on a testnet, zero without one
    /// @param testnetTotal the most that they can mint (SNO wei)
    constructor(
        address[] memory genesisNodes,
        address core,
        address coordinator,
        address dao,
        bytes32 testnetRoot,
        uint256 testnetTotal
    ) TokenBase(core, coordinator, dao) Distributions(testnetRoot, testnetTotal) {
        uint256 count = genesisNodes.length;
        if (count == 0) revert Token__InvalidArrayLength();
        for (uint256 i = 0; i < count; ++i) {
            _mint(genesisNodes[i], GENESIS_AMOUNT);
            _lock(genesisNodes[i], true);
        }
        i_genesisSupply = GENESIS_AMOUNT * count;
        _recordTotalVotes();
    }

    /// @notice Halves the update interval from the next period; emission per hour stays the same.
    function halveDistributionInterval() external onlyDAO {
        uint256 interval = s_distributionInterval();
        _setInterval(interval, interval / 2);
    }

    /// @notice Doubles the update interval from the next period; emission per hour stays the same.
    function doubleDistributionInterval() external onlyDAO {
        uint256 interval = s_distributionInterval();
        _setInterval(interval, interval * 2);
    }

    /// @notice Emission of a state update at this moment (SNO wei).
    function getEmissionRate() public view returns (uint256) {
        return _emissionOf(s_distributionInterval());
    }

    /// @notice Seconds that the present period covers: the Coordinator's update interval.
    function s_distributionInterval() public view returns (uint256) {
        return s_smartnodesCoordinator.updateInterval();
    }

    /// @notice Where the supply is (SNO wei), and the present update interval (seconds) and its emission (SNO wei).
    /// Circulating is all that the contract does not hold; unclaimed rewards are in the supply only as far as they
    /// came from payments.
    function getSupplyBreakdown()
        external
        view
        returns (
            uint256 _totalSupply,
            uint256 _circulating,
            uint256 _locked,
            uint256 _unclaimed,
            uint256 _escrowed,
            uint256 _stateTime,
            uint256 _stateReward
        )
    {
        uint256 total = totalSupply();
        return (
            total,
            total - balanceOf(address(this)),
            s_totalLocked,
            s_totalUnclaimed.sno,
            s_totalEscrowed.sno,
            s_distributionInterval(),
            getEmissionRate()
        );
    }

    /// @notice The terms of the supply identity, each from its own books (SNO wei):
    /// totalSupply = genesis + minted by updates + minted by claims + minted for the testnet - burned.
    function getSupplyTerms()
        external
        view
        returns (uint256 genesis, uint256 mintedByUpdates, uint256 mintedByClaims, uint256 testnet, uint256 burned)
    {
        uint256 unclaimedEmission = s_totalUnclaimed.sno - s_unclaimedPayments();
        return (
            i_genesisSupply,
            _emission.minted,
            _emission.allocated - unclaimedEmission,
            s_testnetClaimedTotal,
            s_totalBurned
        );
    }

    /// @notice The part of the unclaimed SNO that came from payments (wei): what the contract holds beside collateral,
    /// escrow, released payments and credits.
    function s_unclaimedPayments() public view returns (uint256) {
        return balanceOf(address(this)) - s_totalLocked - s_totalEscrowed.sno - s_released.sno
            - s_totalCredits.sno;
    }

    /// @notice ETH of the contract (wei): all, unclaimed, escrowed, and the rest (released, credited, donated).
    function getEthBreakdown() external view returns (EthBreakdown memory) {
        uint256 all = address(this).balance;
        uint256 unclaimed = s_totalUnclaimed.eth;
        uint256 escrowed = s_totalEscrowed.eth;
        return EthBreakdown(all, unclaimed, escrowed, all - unclaimed - escrowed);
    }

    struct EthBreakdown {
        uint256 totalContractEth;
        uint256 unclaimedEth;
        uint256 escrowedEth;
        uint256 availableEth;
    }

    /// @notice Core's address.
    function getSmartnodesCore() external view returns (address) {
        return address(s_smartnodesCore);
    }

    /// @notice Always: Core is fixed at deployment.
    function s_coreSet() external pure returns (bool) {
        return true;
    }

    /// @notice Always: the authority is fixed at deployment.
    function s_daoSet() external pure returns (bool) {
        return true;
    }

    function _setInterval(uint256 oldInterval, uint256 newInterval) private {
        s_smartnodesCoordinator.updateTiming(newInterval);
        emit DistributionIntervalUpdated(oldInterval, newInterval);
    }

    function _accountedEth() internal view override returns (uint256) {
        return uint256(s_totalEscrowed.eth) + s_released.eth + s_totalUnclaimed.eth + s_totalCredits.eth;
    }
}
