//! ETH: a contract that takes none back, and a donation.

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::{SmartnodesCore as Core, SmartnodesERC20 as Token};
use smartnodes_node::work::hash_chain;
use smartnodes_scenarios::USER_COLLATERAL;

use super::error::ActError;
use super::person::{Person, Sent};

/// A contract that does as it is told: it calls the address in the first 20 bytes of what it is sent, with the rest and all
/// ETH that comes along, and answers what that answers. Sent nothing, it reverts: so it takes no ETH. Anybody may command
/// it, which is good enough for a contract that owns nothing for longer than a test.
///
/// ```text
///   if calldatasize == 0 { revert }
///   copy calldata from byte 20; call(address in calldata, callvalue, copy); copy what it returns
///   return or revert with that
/// ```
const PUPPET: &[u8] = &[
    0x36, 0x15, 0x60, 0x28, 0x57, // calldatasize, iszero, jump to the revert
    0x60, 0x14, 0x36, 0x03, 0x80, 0x60, 0x14, 0x60, 0x00,
    0x37, // calldatacopy(0, 20, calldatasize - 20)
    0x60, 0x00, 0x60, 0x00, 0x82, 0x60, 0x00,
    0x34, // nothing for returned data, the copy, callvalue
    0x60, 0x00, 0x35, 0x60, 0x60, 0x1c, 0x5a, 0xf1, // address, gas, call
    0x3d, 0x60, 0x00, 0x60, 0x00, 0x3e, // returndatacopy(0, 0, returndatasize)
    0x60, 0x2d, 0x57, // jump to the return if the call succeeded
    0x5b, 0x3d, 0x60, 0x00, 0xfd, // revert
    0x5b, 0x3d, 0x60, 0x00, 0xf3, // return
];
/// Copies the code after it, of the length in its second byte, and returns it.
const CONSTRUCTOR: [u8; 11] = [
    0x60,
    PUPPET.len() as u8,
    0x80,
    0x60,
    0x0b,
    0x60,
    0x00,
    0x39,
    0x60,
    0x00,
    0xf3,
];

/// A contract pays a job in ETH that nobody does, cancels it, refuses the refund, and has it collected for its owner.
pub(super) async fn refund(
    person: &Person,
    wallet: &PrivateKeySigner,
    payment: u128,
    job_hash: B256,
) -> Result<Vec<Sent>, ActError> {
    let deployment = person.deployment().clone();
    let mut sent = Vec::new();
    let collateral = U256::from(USER_COLLATERAL.wei());
    let account = wallet.address();
    person
        .until(|person| {
            let held = person.read(deployment.token, &Token::balanceOfCall { account })?;
            Ok(held >= collateral)
        })
        .await?;
    let code = Bytes::from([CONSTRUCTOR.as_slice(), PUPPET].concat());
    let created = person
        .send(wallet, TxKind::Create, code, U256::ZERO)
        .await?;
    let puppet = created
        .created
        .filter(|_| created.reverted.is_none())
        .ok_or(ActError::NotCreated(created.hash))?;
    sent.push(created);
    let user_hash = keccak256(puppet);
    let steps = [
        (
            deployment.token,
            Token::transferCall {
                to: puppet,
                value: collateral,
            }
            .abi_encode(),
            None,
        ),
        (
            deployment.core,
            Core::createUserCall {
                publicKeyHash: user_hash,
            }
            .abi_encode(),
            Some(0),
        ),
        (
            deployment.core,
            Core::requestJobCall {
                userHash: user_hash,
                jobHash: job_hash,
                network: hash_chain::NETWORK.to_owned(),
                capacities: Vec::new(),
                payment,
            }
            .abi_encode(),
            Some(payment),
        ),
    ];
    for (contract, input, through_puppet) in steps {
        let step = match through_puppet {
            None => {
                let to = TxKind::Call(contract);
                person.send(wallet, to, input.into(), U256::ZERO).await?
            }
            Some(value) => command(person, wallet, puppet, contract, &input, value).await?,
        };
        let failed = step.reverted.is_some();
        sent.push(step);
        if failed {
            return Ok(sent);
        }
    }
    let job = person.read(
        deployment.core,
        &Core::jobIdOfCall {
            owner: puppet,
            jobHash: job_hash,
        },
    )?;
    let cancellable = person.read(deployment.core, &Core::cancellableAtCall { jobId: job })?;
    person.until_time(cancellable.saturating_to()).await;
    let cancel = Core::cancelJobCall { jobId: job }.abi_encode();
    let cancelled = command(person, wallet, puppet, deployment.core, &cancel, 0).await?;
    let failed = cancelled.reverted.is_some();
    sent.push(cancelled);
    if failed {
        return Ok(sent);
    }
    let credit = person.read(deployment.token, &Token::s_creditsCall { account: puppet })?;
    if credit.eth != payment {
        return Err(ActError::Books {
            what: "the ETH that waits for the contract",
            expected: payment.to_string(),
            found: credit.eth.to_string(),
        });
    }
    let collect = |to| Token::withdrawEthCall { to }.abi_encode();
    let refused = command(
        person,
        wallet,
        puppet,
        deployment.token,
        &collect(puppet),
        0,
    )
    .await?;
    if refused.reverted.as_deref() != Some("Token__ETHTransferFailed") {
        return Err(ActError::Books {
            what: "what comes of a contract's collecting ETH that it does not take",
            expected: "Token__ETHTransferFailed".to_owned(),
            found: refused.reverted.unwrap_or_else(|| "included".to_owned()),
        });
    }
    sent.push(
        command(
            person,
            wallet,
            puppet,
            deployment.token,
            &collect(account),
            0,
        )
        .await?,
    );
    Ok(sent)
}

/// Has the puppet call a contract, with so much ETH of the wallet.
async fn command(
    person: &Person,
    wallet: &PrivateKeySigner,
    puppet: Address,
    contract: Address,
    input: &[u8],
    value: u128,
) -> Result<Sent, ActError> {
    let input = [contract.as_slice(), input].concat().into();
    let to = TxKind::Call(puppet);
    person.send(wallet, to, input, U256::from(value)).await
}

/// Sends ETH to the token's contract, and sweeps it into the treasury.
pub(super) async fn donate(
    person: &Person,
    wallet: &PrivateKeySigner,
    amount: u128,
) -> Result<Vec<Sent>, ActError> {
    let token = person.deployment().token;
    let given = person
        .send(
            wallet,
            TxKind::Call(token),
            Bytes::new(),
            U256::from(amount),
        )
        .await?;
    if given.reverted.is_some() {
        return Ok(vec![given]);
    }
    let sweep = Token::sweepDonationsCall {};
    let swept = person.call(wallet, token, &sweep).await?;
    Ok(vec![given, swept])
}
