//! Deliberately broken variants of the contracts: a test of an attack shows with them that the attack would have
//! succeeded, had the contract this flaw. `evm/contracts/variants` says what each breaks.

use alloy::primitives::Bytes;
use serde::Deserialize;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator, SmartnodesCore, SmartnodesDAO, SmartnodesERC20,
};
use smartnodes_evm::deployment::DeployParams;

use super::World;

/// One of our contracts with something taken away.
#[derive(Deserialize)]
pub struct Variant {
    /// The contract's name.
    contract: String,
    /// What was taken away.
    breaks: String,
    /// Init code without the constructor's arguments.
    bytecode: Bytes,
}

impl Variant {
    /// Reads the variant of that name, such as `f01`.
    #[expect(
        clippy::disallowed_methods,
        reason = "a checked-in file, for tests that never run in the simulator"
    )]
    pub fn load(name: &str) -> Self {
        let path = format!(
            "{}/artifacts/variants/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{path}: {error}; run `node compile.mjs`"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Puts the variant's init code in the place of the contract's in the one transaction of a deployment that
    /// creates it.
    pub fn replace_in(&self, transactions: &mut [Bytes]) {
        let original: &Bytes = match self.contract.as_str() {
            "SmartnodesERC20" => &SmartnodesERC20::BYTECODE,
            "SmartnodesCoordinator" => &SmartnodesCoordinator::BYTECODE,
            "SmartnodesCore" => &SmartnodesCore::BYTECODE,
            "SmartnodesDAO" => &SmartnodesDAO::BYTECODE,
            other => panic!("{other} has no variants"),
        };
        let mut replaced = 0;
        for transaction in transactions {
            if let Some(arguments) = transaction.strip_prefix(original.as_ref()) {
                *transaction = [self.bytecode.as_ref(), arguments].concat().into();
                replaced += 1;
            }
        }
        assert_eq!(replaced, 1, "the plan creates {} once", self.contract);
    }
}

/// Checks that an attack fails against the contracts and would succeed against the variant `name`, each time on a
/// network of its own of `genesis` validators. The attack says whether the attacker got what it wanted; what the
/// attacker may do, it checks by itself.
#[track_caller]
pub fn attack_fails(name: &str, genesis: u32, attack: impl FnMut(&mut World) -> bool) {
    attack_fails_with(name, genesis, DeployParams::default(), attack);
}

/// [`attack_fails`] on networks with these parameters.
#[track_caller]
pub fn attack_fails_with(
    name: &str,
    genesis: u32,
    params: DeployParams,
    mut attack: impl FnMut(&mut World) -> bool,
) {
    let variant = Variant::load(name);
    let mut world = World::with(genesis, params.clone());
    assert!(
        !attack(&mut world),
        "{name}: the attack succeeded as if {}",
        variant.breaks
    );
    let mut world = World::deploy(genesis, params, Some(&variant)).expect("the variant deploys");
    assert!(
        attack(&mut world),
        "{name}: the attack tests nothing, for it fails even though {}",
        variant.breaks
    );
}
