//! `smartnode deploy`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::{
    eips::BlockNumberOrTag,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, U256},
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    transports::TransportError,
};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use smartnodes_evm::{
    bindings::SmartnodesERC20,
    deployment::{CREATED, DeployParams, Deployment, DeploymentPlan, gas_in_process},
};

use super::{
    config::{read_text, rpc_url},
    error::CliError,
    output::Output,
    start,
};
use crate::{
    chain::ChainSettings,
    keystore::{self, Password},
};

/// Added to the gas that a transaction used in the rehearsal, in per cent: addresses cost a little more or less.
const GAS_MARGIN_PERCENT: u64 = 20;
/// Most gas that a transaction may have (EIP-7825).
const TRANSACTION_GAS_MAX: u64 = 16_777_216;
/// How long one transaction may take to be mined.
const MINED_WITHIN: Duration = Duration::from_secs(600);
/// Between two looks at the chain.
const POLL: Duration = Duration::from_millis(500);

#[derive(Args)]
#[command(
    after_help = "The parameters, in TOML (only genesis is required):\n  update_interval_seconds = 28800\n  \
                        approval_percent = 66\n  networks = [\"hash-chain\"]\n  [[genesis]]\n  wallet = \"0x...\"\n  \
                        public_key_hash = \"0x...\"   # as `smartnode keys show` prints it\n\nAn interrupted deployment goes \
                        on with the same command."
)]
pub(super) struct DeployArgs {
    /// URL of the chain's JSON-RPC endpoint
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// Keystore of the account that pays; it has no rights afterwards
    #[arg(long, value_name = "FILE")]
    keystore: PathBuf,
    /// File with the keystore's password; without it, SMARTNODE_PASSWORD is used
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What to deploy: genesis validators, update interval, threshold, networks (TOML)
    #[arg(long, value_name = "FILE")]
    params: PathBuf,
    /// Where the deployment is written for the nodes (JSON); never replaced
    #[arg(long, value_name = "FILE", default_value = "deployment.json")]
    out: PathBuf,
    /// Show addresses, gas and cost, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// A deployment that was begun, beside its output, so that the same command can end it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    chain_id: u64,
    deployer: Address,
    first_nonce: u64,
    params: DeployParams,
}

/// Deploys the contracts from one account, by transactions whose addresses are all known before the first one is sent.
pub(super) async fn deploy(args: DeployArgs, output: &Output) -> Result<(), CliError> {
    let params = read_params(&args.params)?;
    if args.out.exists() {
        return Err(CliError::File {
            path: args.out,
            reason: "it exists already and is not replaced".to_owned(),
        });
    }
    let password = Password::read(args.password_file.as_deref())?;
    let wallet = keystore::load_wallet(&args.keystore, &password)?;
    let deployer = wallet.address();
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(wallet))
        .connect_client(start::http(&rpc_url("--rpc", &args.rpc)?)?);
    provider.client().set_poll_interval(POLL);

    let chain_id = asked(provider.get_chain_id().await)?;
    let partial = partial_path(&args.out);
    let begun = match read_begun(&partial)? {
        Some(begun) => {
            let same = Begun {
                chain_id,
                deployer,
                params: params.clone(),
                ..begun.clone()
            };
            if begun != same {
                return Err(CliError::File {
                    path: partial,
                    reason: "it is of a deployment with another chain, deployer or parameters: end that one with its own \
                             command, or remove the file to give it up"
                        .to_owned(),
                });
            }
            begun
        }
        None => Begun {
            chain_id,
            deployer,
            first_nonce: settled_nonce(&provider, deployer).await?,
            params: params.clone(),
        },
    };
    let refused =
        |error: &dyn std::fmt::Display| CliError::value(args.params.display().to_string(), error);
    let plan = DeploymentPlan::new(&params, deployer, begun.first_nonce, chain_id)
        .map_err(|error| refused(&error))?;
    let gas = gas_in_process(&params, chain_id).map_err(|error| refused(&error))?;
    let fees = asked(provider.estimate_eip1559_fees().await)?;
    let limits: Vec<u64> = gas
        .iter()
        .map(|gas| (gas + gas * GAS_MARGIN_PERCENT / 100).min(TRANSACTION_GAS_MAX))
        .collect();
    if let Some(gas) = gas.iter().find(|gas| **gas > TRANSACTION_GAS_MAX) {
        return Err(refused(&format!(
            "{} genesis validators need a transaction of {gas} gas, a chain takes {TRANSACTION_GAS_MAX}: name fewer, the \
             others register later",
            params.genesis.len()
        )));
    }
    let mined = asked(provider.get_transaction_count(deployer).await)?
        .saturating_sub(begun.first_nonce) as usize;
    let left: u64 = limits.iter().skip(mined).sum();
    let cost = U256::from(left) * U256::from(fees.max_fee_per_gas);
    let balance = asked(provider.get_balance(deployer).await)?;
    if args.dry_run {
        let transactions: Vec<_> = (0..)
            .zip(CREATED)
            .zip(&gas)
            .map(|((place, creates), gas)| {
                let address = deployer.create(begun.first_nonce + place);
                json!({ "creates": creates, "address": address, "gas": gas })
            })
            .collect();
        output.result(&json!({
            "deployment": plan.deployment,
            "deployer": deployer,
            "transactions": transactions,
            "gas": gas.iter().sum::<u64>(),
            "cost_at_most_wei": cost.to_string(),
            "balance_wei": balance.to_string(),
        }));
        return Ok(());
    }
    if balance < cost {
        return Err(CliError::value(
            "--keystore",
            format!(
                "{deployer} has {balance} wei, the deployment can cost {cost} wei: send it the rest"
            ),
        ));
    }
    if !partial.exists() {
        write_new(&partial, &begun)?;
    }

    for (place, init_code) in plan.transactions.iter().enumerate() {
        let (creates, nonce) = (CREATED[place], begun.first_nonce + place as u64);
        let address = deployer.create(nonce);
        if place >= mined {
            let last = place + 1 == plan.transactions.len();
            let follow = if last {
                ChainSettings::default().confirmations
            } else {
                0
            };
            let request = TransactionRequest::default()
                .with_nonce(nonce)
                .with_gas_limit(limits[place])
                .with_deploy_code(init_code.clone());
            let failed = |error: &dyn std::fmt::Display| {
                CliError::Deploy(format!(
                    "{creates} (nonce {nonce}): {error}; the same command goes on from here"
                ))
            };
            let receipt = provider
                .send_transaction(request)
                .await
                .map_err(|error| failed(&error))?
                .with_required_confirmations(1 + follow)
                .with_timeout(Some(MINED_WITHIN))
                .get_receipt()
                .await
                .map_err(|error| failed(&error))?;
            if !receipt.status() {
                return Err(failed(
                    &"the constructor reverted; begin again from an unused account",
                ));
            }
            tracing::info!(%address, gas = receipt.gas_used, "{creates} is there");
        }
        // An account that sent something else meanwhile has used a nonce that a contract was to have.
        if asked(provider.get_code_at(address).await)?.is_empty() {
            return Err(CliError::Deploy(format!(
                "{creates} is not at {address}: {deployer} used nonce {nonce} for something else; remove {} and begin again \
                 from an account that does nothing else",
                partial.display()
            )));
        }
    }
    let deployment = started(&provider, &plan).await?;
    write_new(&args.out, &deployment)?;
    fs::remove_file(&partial).map_err(|error| CliError::file(&partial, &error))?;
    output.result(&json!({ "deployment": deployment, "file": args.out }));
    Ok(())
}

fn read_params(path: &Path) -> Result<DeployParams, CliError> {
    let format = |reason: String| CliError::Format {
        path: path.to_owned(),
        reason,
    };
    let params: DeployParams =
        toml::from_str(&read_text(path)?).map_err(|error| format(error.to_string()))?;
    // The addresses do not matter for what can be wrong with the parameters.
    DeploymentPlan::new(&params, Address::ZERO, 0, 0).map_err(|error| format(error.to_string()))?;
    Ok(params)
}

fn partial_path(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn read_begun(path: &Path) -> Result<Option<Begun>, CliError> {
    if !path.exists() {
        return Ok(None);
    }
    let format = |reason: String| CliError::Format {
        path: path.to_owned(),
        reason: format!("{reason}; it is the trace of a deployment that was begun"),
    };
    let begun: Begun =
        serde_json::from_str(&read_text(path)?).map_err(|error| format(error.to_string()))?;
    if !has_nonces(begun.first_nonce) {
        return Err(format(format!("first_nonce is {}", begun.first_nonce)));
    }
    Ok(Some(begun))
}

/// Whether a deployment can begin with this nonce: each of its transactions takes one.
fn has_nonces(first: u64) -> bool {
    first.checked_add(CREATED.len() as u64).is_some()
}

/// Writes a file that must not exist.
fn write_new(path: &Path, content: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(content)
        .map_err(|error| CliError::System(error.to_string()))?;
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create_new(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    write().map_err(|error| CliError::file(path, &error))
}

fn asked<T>(answer: Result<T, TransportError>) -> Result<T, CliError> {
    answer.map_err(|error| CliError::value("--rpc", error))
}

/// The account's next nonce, once nothing of it is waiting in the pool: a waiting transaction could still be dropped, and
/// every address after it would be another.
async fn settled_nonce(provider: &impl Provider, deployer: Address) -> Result<u64, CliError> {
    let nonce = asked(provider.get_transaction_count(deployer).await)?;
    let pending = asked(provider.get_transaction_count(deployer).pending().await)?;
    if !has_nonces(nonce) {
        return Err(CliError::value(
            "--rpc",
            format!("{deployer} is said to have sent {nonce} transactions"),
        ));
    }
    if pending == nonce {
        return Ok(nonce);
    }
    Err(CliError::value(
        "--keystore",
        format!(
            "{} transactions of {deployer} are still waiting: try again when they are mined",
            pending.saturating_sub(nonce)
        ),
    ))
}

/// The deployment with its start: the token knows the time, and blocks are searched for the first that is not older.
async fn started(provider: &impl Provider, plan: &DeploymentPlan) -> Result<Deployment, CliError> {
    let token = SmartnodesERC20::i_deploymentTimestampCall {};
    let request = TransactionRequest::default()
        .with_to(plan.deployment.token)
        .with_call(&token);
    let start = asked(
        provider
            .call(request)
            .decode_resp::<SmartnodesERC20::i_deploymentTimestampCall>()
            .await,
    )?
    .map_err(|error| CliError::value("--rpc", error))?
    .saturating_to::<u64>();
    let (mut low, mut high) = (0, asked(provider.get_block_number().await)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let number = BlockNumberOrTag::Number(middle);
        let time = asked(provider.get_block_by_number(number).await)?
            .map(|block| block.header.timestamp)
            .ok_or_else(|| CliError::value("--rpc", format!("block {middle} is missing")))?;
        if time < start {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(plan.started(low, start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::store::rows::config;

    const GOOD: &str = r#"
        update_interval_seconds = 28800
        approval_percent = 66
        networks = ["hash-chain"]
        [[genesis]]
        wallet = "0x1111111111111111111111111111111111111111"
        public_key_hash = "0x2222222222222222222222222222222222222222222222222222222222222222"
        [testnet]
        root = "0x3333333333333333333333333333333333333333333333333333333333333333"
        total = "0x10"
    "#;

    fn with_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        fs::write(&path, bytes).expect("written");
        read(&path)
    }

    fn begun() -> Begun {
        Begun {
            chain_id: 8_453,
            deployer: Address::repeat_byte(4),
            first_nonce: 7,
            params: with_file(GOOD.as_bytes(), read_params).expect("good"),
        }
    }

    /// Refused as the file that it is, or read as what can be gone on with.
    fn check_params(bytes: &[u8]) -> Result<(), TestCaseError> {
        match with_file(bytes, read_params) {
            Ok(params) => prop_assert!(DeploymentPlan::new(&params, Address::ZERO, 7, 1).is_ok()),
            Err(error) => prop_assert_eq!(error.exit_code(), 2, "{}", error),
        }
        Ok(())
    }

    fn check_begun(bytes: &[u8]) -> Result<(), TestCaseError> {
        match with_file(bytes, read_begun) {
            Ok(begun) => {
                let begun = begun.expect("the file is there");
                let last = begun.first_nonce.checked_add(CREATED.len() as u64 - 1);
                prop_assert!(last.is_some_and(|last| last < u64::MAX));
                // Whatever else is wrong with it, the plan says.
                let chain_id = begun.chain_id;
                let _ =
                    DeploymentPlan::new(&begun.params, begun.deployer, begun.first_nonce, chain_id);
            }
            Err(error) => prop_assert_eq!(error.exit_code(), 2, "{}", error),
        }
        Ok(())
    }

    /// A text with some of its bytes replaced.
    fn spliced(text: &str, at: Index, length: usize, by: &[u8]) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + length);
        bytes.splice(at..end, by.iter().copied());
        bytes
    }

    /// What may stand in the place of something else: bytes, or a number.
    fn other() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..4),
            "[-0-9a-fx\"\\[\\]{}=,. \n]{0,8}".prop_map(String::into_bytes),
            any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        ]
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn arbitrary_files_are_refused(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let params = with_file(&bytes, read_params);
            prop_assert!(params.is_err_and(|error| error.exit_code() == 2));
            let begun = with_file(&bytes, read_begun);
            prop_assert!(begun.is_err_and(|error| error.exit_code() == 2));
        }

        #[test]
        fn changed_files_are_refused_or_read(at: Index, length in 0..8usize, by in other()) {
            check_params(&spliced(GOOD, at, length, &by))?;
            let text = serde_json::to_string_pretty(&begun()).expect("JSON");
            check_begun(&spliced(&text, at, length, &by))?;
        }

        #[test]
        fn no_number_is_taken_that_cannot_be_gone_on_with(
            number in prop_oneof![any::<u64>(), u64::MAX - 20..=u64::MAX, 0..100u64],
        ) {
            let number = number.to_string();
            for good in ["28800", "66"] {
                prop_assert!(GOOD.contains(good));
                check_params(GOOD.replace(good, &number).as_bytes())?;
            }
            let text = serde_json::to_string_pretty(&begun()).expect("JSON");
            for good in ["8453", ": 7,", "28800", "66,"] {
                prop_assert!(text.contains(good));
                let other = good.replace(|c: char| c.is_ascii_digit(), "#");
                let other = other.replacen('#', &number, 1).replace('#', "");
                check_begun(text.replace(good, &other).as_bytes())?;
            }
        }
    }

    #[test]
    fn what_was_begun_is_read_as_it_was_written() {
        let text = serde_json::to_string_pretty(&begun()).expect("JSON");
        let read = with_file(text.as_bytes(), read_begun).expect("good");
        assert!(read == Some(begun()));
        let none = read_begun(Path::new("/there/is/none")).expect("nothing is begun");
        assert!(none.is_none());
    }
}
