//! Calls that change nothing, and gas estimates, against the state after any block that is kept.

use alloy::{
    eips::BlockId,
    primitives::{Address, Bytes, TxKind, U256},
    rpc::types::TransactionRequest,
};
use revm::{
    ExecuteEvm, MainnetEvm,
    context::{
        BlockEnv, TxEnv,
        result::{EVMError, ExecutionResult, InvalidTransaction},
    },
    handler::MainnetContext,
};

use super::{
    Chain,
    error::{BlockError, CallError, Reverted},
    mine::{block_env, error_text, evm, halt_text},
    state::{Past, StateView},
};

/// Gas of a transfer to an account without code.
const TRANSFER_GAS: u64 = 21_000;

/// An estimate may exceed the least sufficient gas limit by this fraction (1/64 ≈ 1.6 %), as geth's does.
const ESTIMATE_TOLERANCE_DIVISOR: u64 = 64;

/// Gas that a call with value leaves to its receiver, which the gas used does not show but the limit must contain.
const CALL_STIPEND: u64 = 2_300;

/// A call, ready to run.
struct Prepared {
    block: BlockEnv,
    tx: TxEnv,
}

/// A finished run that succeeded.
struct Success {
    output: Bytes,
    gas_used: u64,
    gas_spent: u64,
}

impl Chain {
    /// Runs a call on the state after block `at`, in that block's environment, and returns its output.
    ///
    /// The sender needs no signature, nonce or (at gas price zero, the default) money for gas. Without a gas price the
    /// base fee reads zero, as in geth. The gas limit is the block's at most, and by default.
    pub fn call(&self, request: &TransactionRequest, at: BlockId) -> Result<Bytes, CallError> {
        let number = self.blocks.resolve(at)?;
        let prepared = self.prepare(request, number)?;
        let view = self.state_at(number);
        let mut evm = self.reading_evm(&view, &prepared);
        Ok(run(&mut evm, prepared.tx)?.output)
    }

    /// The least gas limit, up to a tolerance of 1.6 %, with which the call succeeds on the state after block `at`.
    /// Given a gas price, the sender must be able to pay.
    pub fn estimate_gas(
        &self,
        request: &TransactionRequest,
        at: BlockId,
    ) -> Result<u64, CallError> {
        let number = self.blocks.resolve(at)?;
        let Prepared { block, mut tx } = self.prepare(request, number)?;
        let view = self.state_at(number);
        if tx.gas_price > 0 {
            tx.gas_limit = tx.gas_limit.min(affordable_gas(&view, &tx)?);
        }
        let allowance = tx.gas_limit;
        let prepared = Prepared { block, tx };
        let mut evm = self.reading_evm(&view, &prepared);
        let mut attempt = |gas_limit: u64| {
            run(
                &mut evm,
                TxEnv {
                    gas_limit,
                    ..prepared.tx.clone()
                },
            )
        };

        if let TxKind::Call(to) = prepared.tx.kind
            && prepared.tx.data.is_empty()
            && view.info(&to).is_none_or(|info| info.is_empty_code_hash())
            && prepared.tx.access_list.is_empty()
            && allowance >= TRANSFER_GAS
            && attempt(TRANSFER_GAS).is_ok()
        {
            return Ok(TRANSFER_GAS);
        }

        let full = attempt(allowance).map_err(|error| match error {
            CallError::Halted { reason, .. } if reason == OUT_OF_GAS => {
                CallError::GasAllowance { allowance }
            }
            error => error,
        })?;
        // Invariant: `low` fails or is one below the gas used, `high` succeeds.
        let mut low = full.gas_used.saturating_sub(1);
        let mut high = allowance;
        // Most calls succeed with what they spent before refunds and a 64th more for each level of calls.
        let likely = (full.gas_spent + CALL_STIPEND) / 63 * 64 + 64;
        if likely > low && likely < high {
            match attempt(likely) {
                Ok(_) => high = likely,
                Err(_) => low = likely,
            }
        }
        while high - low > 1 && high - low > high / ESTIMATE_TOLERANCE_DIVISOR {
            // Start near the low end: limits cluster there.
            let middle = (low + (high - low) / 2)
                .min(low.saturating_mul(2))
                .max(low + 1);
            match attempt(middle) {
                Ok(_) => high = middle,
                Err(_) => low = middle,
            }
        }
        Ok(high)
    }

    /// The state after a block that is kept: the latest state, stepped back over the later blocks.
    pub(super) fn state_at(&self, number: u64) -> StateView<'_> {
        let mut past = Past::default();
        for (_, body) in self
            .blocks
            .bodies(number.saturating_add(1), self.blocks.latest_number())
            .rev()
        {
            past.step_back(&body.undo);
        }
        StateView {
            accounts: &self.accounts,
            past,
            blocks: &self.blocks,
        }
    }

    fn reading_evm<'a>(
        &self,
        view: &'a StateView<'a>,
        prepared: &Prepared,
    ) -> MainnetEvm<MainnetContext<&'a StateView<'a>>> {
        let mut evm = evm(view, self.config.chain_id, prepared.block.clone());
        evm.ctx.cfg.disable_nonce_check = true;
        evm.ctx.cfg.disable_eip3607 = true;
        evm
    }

    fn prepare(&self, request: &TransactionRequest, number: u64) -> Result<Prepared, CallError> {
        let environment = self.blocks.environment(number).ok_or(BlockError::Unknown)?;
        let mut block = block_env(&environment, self.config.gas_limit);
        let dynamic =
            request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some();
        if dynamic && request.gas_price.is_some() {
            return Err(CallError::Invalid(
                "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified".to_owned(),
            ));
        }
        if request.blob_versioned_hashes.is_some()
            || request.authorization_list.is_some()
            || request.sidecar.is_some()
        {
            return Err(CallError::Invalid(
                "transaction type not supported: no blobs and no authorizations".to_owned(),
            ));
        }
        // Who names no chain means this one.
        let want = self.config.chain_id;
        if let Some(have) = request.chain_id.filter(|have| *have != want) {
            return Err(CallError::Invalid(format!(
                "chainId does not match node's (have={have}, want={want})"
            )));
        }
        let data = request
            .input
            .unique_input()
            .map_err(|_| {
                CallError::Invalid("both \"data\" and \"input\" are set and not equal".to_owned())
            })?
            .cloned()
            .unwrap_or_default();
        let gas_price = request
            .max_fee_per_gas
            .or(request.gas_price)
            .unwrap_or_default();
        if gas_price == 0 {
            // Or nobody could call without paying; geth does the same.
            block.basefee = 0;
        }
        let access_list = request.access_list.clone().unwrap_or_default();
        let tx_type = match (dynamic, access_list.is_empty()) {
            (true, _) => 2,
            (false, false) => 1,
            (false, true) => 0,
        };
        let tx = TxEnv {
            tx_type,
            caller: request.from.unwrap_or(Address::ZERO),
            gas_limit: request
                .gas
                .unwrap_or(self.config.gas_limit)
                .min(self.config.gas_limit),
            gas_price,
            kind: request.to.unwrap_or(TxKind::Create),
            value: request.value.unwrap_or_default(),
            data,
            nonce: 0,
            chain_id: Some(self.config.chain_id),
            access_list,
            gas_priority_fee: dynamic.then(|| request.max_priority_fee_per_gas.unwrap_or_default()),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: Vec::new(),
        };
        Ok(Prepared { block, tx })
    }
}

/// What the reason of a halt reads when gas ran out.
const OUT_OF_GAS: &str = "out of gas";

/// The greatest gas limit that the sender can pay beside the value.
fn affordable_gas(view: &StateView<'_>, tx: &TxEnv) -> Result<u64, CallError> {
    let have = view
        .info(&tx.caller)
        .map_or(U256::ZERO, |info| info.balance);
    let for_gas = have
        .checked_sub(tx.value)
        .ok_or_else(|| insufficient(tx.caller, have, tx.value))?;
    Ok((for_gas / U256::from(tx.gas_price)).saturating_to())
}

fn insufficient(address: Address, have: U256, want: U256) -> CallError {
    CallError::Invalid(format!(
        "insufficient funds for gas * price + value: address {address} have {have} want {want}"
    ))
}

fn run(
    evm: &mut MainnetEvm<MainnetContext<&StateView<'_>>>,
    tx: TxEnv,
) -> Result<Success, CallError> {
    let (caller, gas_limit) = (tx.caller, tx.gas_limit);
    let outcome = evm.transact(tx).map_err(|error| match error {
        EVMError::Transaction(InvalidTransaction::LackOfFundForMaxFee { fee, balance }) => {
            insufficient(caller, *balance, *fee)
        }
        EVMError::Transaction(
            InvalidTransaction::CallGasCostMoreThanGasLimit {
                initial_gas: want, ..
            }
            | InvalidTransaction::GasFloorMoreThanGasLimit {
                gas_floor: want, ..
            },
        ) => CallError::Invalid(format!(
            "intrinsic gas too low: have {gas_limit}, want {want}"
        )),
        other => CallError::Invalid(error_text(&other)),
    })?;
    match outcome.result {
        ExecutionResult::Success { output, gas, .. } => Ok(Success {
            output: output.into_data(),
            gas_used: gas.tx_gas_used(),
            gas_spent: gas.total_gas_spent(),
        }),
        ExecutionResult::Revert { output, .. } => {
            Err(CallError::Reverted(Reverted { data: output }))
        }
        ExecutionResult::Halt { reason, gas, .. } => Err(CallError::Halted {
            reason: halt_text(&reason),
            gas_used: gas.tx_gas_used(),
        }),
    }
}
