// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

// Compiled for deployment as it is.
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
