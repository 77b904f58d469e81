"""Drives the embedded chain with web3.py: deploys all contracts, lives through a state update, and reads it back.

Usage: drive_web3.py URL ARTIFACTS_DIRECTORY. The chain mines only when it is asked to; the accounts have ETH.
"""

import json
import sys
from pathlib import Path

from eth_abi import encode
from eth_account import Account
from web3 import Web3
from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    TransactionNotFound,
    Web3RPCError,
)
from web3.logs import DISCARD
from web3.utils import get_create_address

INTERVAL = 8 * 3_600
SNO = 10**18
ZERO = b"\0" * 32

url, artifacts = sys.argv[1], Path(sys.argv[2])
w3 = Web3(Web3.HTTPProvider(url))
validators = [Account.from_key(bytes([n]) * 32) for n in (1, 2, 3)]
worker, deployer = (Account.from_key(bytes([n]) * 32) for n in (4, 5))


def rpc(method, *params):
    answer = w3.provider.make_request(method, list(params))
    assert "error" not in answer, answer
    return answer["result"]


def send(account, transaction, legacy=False):
    """Signs, sends, mines; the receipt. `transaction` is all but nonce, fees and chain."""
    transaction = {
        "chainId": w3.eth.chain_id,
        "nonce": w3.eth.get_transaction_count(account.address, "pending"),
        **transaction,
    }
    if legacy:
        transaction["gasPrice"] = w3.eth.gas_price
    else:
        tip = w3.eth.max_priority_fee
        base_fee = w3.eth.get_block("latest")["baseFeePerGas"]
        transaction |= {"maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * base_fee + tip}
    if "gas" not in transaction:
        transaction["gas"] = w3.eth.estimate_gas({**transaction, "from": account.address})
    signed = account.sign_transaction(transaction)
    sent = w3.eth.send_raw_transaction(signed.raw_transaction)
    try:
        w3.eth.get_transaction_receipt(sent)
        raise AssertionError("a receipt before the block")
    except TransactionNotFound:
        pass
    assert w3.eth.get_transaction(sent)["blockNumber"] is None
    rpc("evm_mine")
    receipt = w3.eth.wait_for_transaction_receipt(sent, timeout=5)
    mined = w3.eth.get_transaction(sent)
    assert mined["type"] == (0 if legacy else 2)
    assert mined["from"] == account.address
    return receipt


def call_data(function):
    return {"to": function.address, "data": function._encode_transaction_data()}


def transact(account, function, legacy=False):
    receipt = send(account, call_data(function), legacy)
    assert receipt["status"] == 1, receipt
    return receipt


def factory(name):
    artifact = json.loads((artifacts / f"{name}.json").read_text())
    return w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])


def deploy_all():
    """The order and the wiring of the Rust deployment: every address is known before the first transaction."""
    token, timelock, dao, core_behind, coordinator_behind, core, coordinator = (
        get_create_address(deployer.address, nonce) for nonce in range(7)
    )
    addresses = [account.address for account in validators]
    keys = [Web3.keccak(text=address) for address in addresses]
    core_contract, coordinator_contract = (
        factory(name) for name in ("SmartnodesCore", "SmartnodesCoordinator")
    )
    core_start = core_contract.encode_abi("initialize", [addresses, keys, ["hash-chain"]])
    coordinator_start = coordinator_contract.encode_abi("initialize", [INTERVAL, 66, addresses])
    zero = "0x" + "00" * 20
    steps = [
        ("SmartnodesERC20", [addresses, core, coordinator, timelock, ZERO, 0]),
        ("SmartnodesTimelock", [2 * 86_400, [dao], [dao], zero]),
        ("SmartnodesDAO", [token, timelock]),
        ("SmartnodesCore", [token, coordinator, timelock]),
        ("SmartnodesCoordinator", [token, core, timelock]),
        ("ERC1967Proxy", [core_behind, core_start]),
        ("ERC1967Proxy", [coordinator_behind, coordinator_start]),
    ]
    for nonce, (name, arguments) in enumerate(steps):
        data = factory(name).constructor(*arguments).data_in_transaction
        receipt = send(deployer, {"data": data, "value": 0}, legacy=nonce % 2 == 0)
        assert receipt["status"] == 1, (name, receipt)
        assert receipt["contractAddress"] == get_create_address(deployer.address, nonce)
        assert len(w3.eth.get_code(receipt["contractAddress"])) > 50
    return (
        w3.eth.contract(address=address, abi=factory(name).abi)
        for name, address in [
            ("SmartnodesERC20", token),
            ("SmartnodesCore", core),
            ("SmartnodesCoordinator", coordinator),
        ]
    )


def state_update(token, coordinator):
    """A whole round; the worker gets the workers' share alone, so that its leaf is the root."""
    due = coordinator.functions.roundStatus().call()[2]
    rpc("evm_increaseTime", due - w3.eth.get_block("latest")["timestamp"])
    rpc("evm_mine")
    assert w3.eth.get_block("latest")["timestamp"] >= due
    transact(validators[0], coordinator.functions.openRound())
    rpc("evm_mine", {"blocks": 3})
    transact(validators[0], coordinator.functions.openRound())
    status = coordinator.functions.roundStatus().call()
    assert status[1] == 4, status

    leaf = Web3.keccak(
        Web3.keccak(encode(["address", "uint256", "uint256"], [worker.address, 10, 1]))
    )
    update = (leaf, 10, [], [], ZERO, ZERO, [(worker.address, 25)])
    hashed = coordinator.functions.hashStateUpdate(status[0], update).call()
    drawn = coordinator.functions.getCurrentRoundValidators().call()
    proposer = next(account for account in validators if account.address in drawn)
    transact(proposer, coordinator.functions.createProposal(hashed), legacy=True)
    for account in validators:
        transact(account, coordinator.functions.voteForProposal(1, hashed))
    receipt = transact(proposer, coordinator.functions.executeProposal(1, update))

    executed = coordinator.events.StateUpdateExecuted().process_receipt(receipt, errors=DISCARD)
    assert [event["args"]["proposalHash"] for event in executed] == [hashed]
    votes = coordinator.events.VoteCast().get_logs(from_block=0)
    assert sorted(vote["args"]["validator"] for vote in votes) == sorted(
        account.address for account in validators
    )
    only = coordinator.events.VoteCast().get_logs(
        from_block=0, argument_filters={"validator": validators[1].address}
    )
    assert len(only) == 1 and only[0]["args"]["proposalHash"] == hashed
    transact(worker, token.functions.claimMerkleRewards(1, 10, []))
    assert token.functions.balanceOf(worker.address).call() == 45_000 * SNO * 85 // 100
    return receipt


def reverts(token, coordinator):
    """Custom errors, reverts in words, panics; called, estimated and mined."""
    claim = token.functions.claimMerkleRewards(1, 10, [])
    claimed = Web3.keccak(text="Token__RewardsAlreadyClaimed()")[:4]
    for ask in (claim.call, claim.estimate_gas):
        try:
            ask({"from": worker.address})
            raise AssertionError("claimed twice")
        except ContractCustomError as error:
            assert Web3.to_bytes(hexstr=error.data)[:4] == claimed, error
    receipt = send(worker, {**call_data(claim), "gas": 300_000})
    assert receipt["status"] == 0 and receipt["logs"] == []
    try:
        coordinator.functions.validators(99).call()
        raise AssertionError("a validator out of nowhere")
    except ContractLogicError as error:
        assert Web3.to_bytes(hexstr=error.data)[:4] == Web3.keccak(text="Panic(uint256)")[:4]
    try:
        w3.eth.send_raw_transaction(
            worker.sign_transaction(
                {
                    "chainId": w3.eth.chain_id,
                    "nonce": 0,
                    "to": worker.address,
                    "value": 0,
                    "gas": 21_000,
                    "gasPrice": w3.eth.gas_price,
                }
            ).raw_transaction
        )
        raise AssertionError("a nonce twice")
    except Web3RPCError as error:
        assert "nonce too low" in str(error), error


def history(token, executed):
    """Snapshots, and what blocks, fees and states of the past look like."""
    before = w3.eth.block_number, token.functions.balanceOf(worker.address).call()
    snapshot = rpc("evm_snapshot")
    transact(worker, token.functions.transfer(deployer.address, 5 * SNO))
    assert token.functions.balanceOf(deployer.address).call() == 5 * SNO
    earlier = token.functions.balanceOf(deployer.address).call(block_identifier=before[0])
    assert earlier == 0
    assert rpc("evm_revert", snapshot) is True
    assert (w3.eth.block_number, token.functions.balanceOf(worker.address).call()) == before
    assert rpc("evm_revert", snapshot) is False

    later = w3.eth.get_block("latest")["timestamp"] + 1_000
    rpc("evm_setNextBlockTimestamp", later)
    rpc("evm_mine")
    assert w3.eth.get_block("latest")["timestamp"] == later

    block = w3.eth.get_block(executed["blockNumber"], full_transactions=True)
    assert block["hash"] == executed["blockHash"]
    assert block["transactions"][0]["hash"] == executed["transactionHash"]
    assert w3.eth.get_block(block["hash"])["number"] == block["number"]
    parent = w3.eth.get_block(block["number"] - 1)
    assert parent["hash"] == block["parentHash"] and parent["timestamp"] < block["timestamp"]
    assert w3.eth.get_block_receipts(block["number"])[0]["gasUsed"] == executed["gasUsed"]
    fees = w3.eth.fee_history(4, "latest", [50])
    assert len(fees["baseFeePerGas"]) == 5 and len(fees["reward"]) == 4
    assert w3.eth.get_balance(worker.address) > 0
    assert len(w3.eth.get_storage_at(token.address, 0)) == 32


assert w3.is_connected() and w3.client_version.startswith("smartnodes-evm/")
token, core, coordinator = deploy_all()
assert token.functions.totalSupply().call() == 3_000_000 * SNO
assert core.functions.reputationOf(worker.address).call() == 500
executed = state_update(token, coordinator)
assert core.functions.reputationOf(worker.address).call() == 525
reverts(token, coordinator)
history(token, executed)
print(f"web3.py {w3.api}: {w3.eth.block_number} blocks")
