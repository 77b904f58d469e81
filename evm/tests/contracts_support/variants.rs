//! Deliberately broken variants of the contracts: a test of an attack shows with them that the attack would have
//! succeeded, had the contract this flaw. `evm/contracts/variants` says what each breaks.

use serde::Deserialize;
use smartnodes_evm::deployment::{DeployParams, DeploymentPlan, Replacement};

use super::World;

/// One of our contracts with something taken away.
#[derive(Deserialize)]
pub struct Variant {
    /// What was taken away.
    breaks: String,
    /// What takes the contract's place.
    #[serde(flatten)]
    replacement: Replacement,
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

    /// Puts the variant in the place of the contract.
    pub fn replace_in(&self, plan: &mut DeploymentPlan) {
        self.replacement
            .apply(plan)
            .expect("the plan creates the contract");
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
