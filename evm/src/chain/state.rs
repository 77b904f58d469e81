//! Accounts in memory, the undo log that can take any block back, and the databases that the EVM reads them through.

use std::convert::Infallible;

use alloy::{
    consensus::constants::KECCAK_EMPTY,
    primitives::{Address, B256, U256},
};
use revm::{
    Database,
    primitives::{AddressMap, HashMap, StorageKeyMap},
    state::{AccountInfo, Bytecode, EvmState, EvmStorage},
};

use super::blocks::BlockStore;

/// One account. Code lives in `info.code`, shared, so that loading an account never needs a second look-up.
#[derive(Clone, Debug)]
struct Account {
    info: AccountInfo,
    /// Slots other than zero.
    storage: StorageKeyMap<U256>,
}

/// What a block changed, as it was before, in order of change. Taking it back in reverse restores the state before.
#[derive(Debug, Default)]
pub(super) struct UndoLog {
    accounts: Vec<(Address, Option<AccountInfo>)>,
    slots: Vec<(Address, U256, U256)>,
}

/// All accounts as of the latest block. The maps are never iterated, so that their order cannot leak into results.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    map: AddressMap<Account>,
}

impl Accounts {
    /// Sets a balance at genesis.
    pub(super) fn fund(&mut self, address: Address, balance: U256) {
        let info = AccountInfo {
            balance,
            ..AccountInfo::default()
        };
        self.map.insert(
            address,
            Account {
                info,
                storage: StorageKeyMap::default(),
            },
        );
    }

    pub(super) fn info(&self, address: &Address) -> Option<&AccountInfo> {
        self.map.get(address).map(|account| &account.info)
    }

    pub(super) fn nonce(&self, address: &Address) -> u64 {
        self.info(address).map_or(0, |info| info.nonce)
    }

    pub(super) fn balance(&self, address: &Address) -> U256 {
        self.info(address).map_or(U256::ZERO, |info| info.balance)
    }

    pub(super) fn has_code(&self, address: &Address) -> bool {
        self.info(address)
            .is_some_and(|info| info.code_hash != KECCAK_EMPTY)
    }

    fn storage(&self, address: &Address, slot: &U256) -> U256 {
        self.map
            .get(address)
            .and_then(|account| account.storage.get(slot))
            .copied()
            .unwrap_or_default()
    }

    /// Applies what one transaction changed and notes the values before in `undo`.
    ///
    /// `changes` is an unordered map; the order in which it comes is seen by nobody, because each account and slot occurs
    /// once in it and entries of different transactions keep their order in `undo`.
    pub(super) fn commit(&mut self, changes: EvmState, undo: &mut UndoLog) {
        for (address, mut changed) in changes {
            if !changed.is_touched() {
                continue;
            }
            // EIP-161 removes touched accounts that are empty; EIP-6780 lets only accounts made in the same transaction
            // self-destruct, and those had no storage before it.
            if changed.is_selfdestructed() || changed.is_empty() {
                if let Some(removed) = self.map.remove(&address) {
                    debug_assert!(
                        removed.storage.is_empty(),
                        "only accounts without storage are removed"
                    );
                    undo.accounts.push((address, Some(removed.info)));
                }
                continue;
            }
            match self.map.get_mut(&address) {
                Some(account) => {
                    if account.info != changed.info {
                        // The EVM may hand back an account without its code, which cannot have changed then.
                        if changed.info.code.is_none() {
                            changed.info.code = account.info.code.clone();
                        }
                        let before = std::mem::replace(&mut account.info, changed.info);
                        undo.accounts.push((address, Some(before)));
                    }
                    write_slots(account, address, changed.storage, undo);
                }
                None => {
                    undo.accounts.push((address, None));
                    let mut account = Account {
                        info: changed.info,
                        storage: StorageKeyMap::default(),
                    };
                    write_slots(&mut account, address, changed.storage, undo);
                    self.map.insert(address, account);
                }
            }
        }
    }

    /// Takes back everything in `undo`; logs must come newest first.
    pub(super) fn undo(&mut self, undo: UndoLog) {
        for (address, before) in undo.accounts.into_iter().rev() {
            match (before, self.map.get_mut(&address)) {
                (Some(info), Some(account)) => account.info = info,
                (Some(info), None) => {
                    self.map.insert(
                        address,
                        Account {
                            info,
                            storage: StorageKeyMap::default(),
                        },
                    );
                }
                (None, _) => {
                    self.map.remove(&address);
                }
            }
        }
        for (address, slot, before) in undo.slots.into_iter().rev() {
            // An account that is gone took its slots with it.
            if let Some(account) = self.map.get_mut(&address) {
                set_slot(&mut account.storage, slot, before);
            }
        }
    }
}

/// Writes the changed slots of one account and notes what they held.
fn write_slots(account: &mut Account, address: Address, changed: EvmStorage, undo: &mut UndoLog) {
    for (slot, value) in changed {
        if value.is_changed() {
            let before = set_slot(&mut account.storage, slot, value.present_value());
            undo.slots.push((address, slot, before));
        }
    }
}

/// Sets a slot, keeping only those other than zero, and returns what it held.
fn set_slot(storage: &mut StorageKeyMap<U256>, slot: U256, value: U256) -> U256 {
    let before = if value.is_zero() {
        storage.remove(&slot)
    } else {
        storage.insert(slot, value)
    };
    before.unwrap_or_default()
}

/// Values of an earlier block, where they differ from the latest.
#[derive(Debug, Default)]
pub(super) struct Past {
    accounts: AddressMap<Option<AccountInfo>>,
    slots: HashMap<(Address, U256), U256>,
}

impl Past {
    /// Steps back over one block; call with the newest block first, so that the oldest value before wins.
    pub(super) fn step_back(&mut self, undo: &UndoLog) {
        for (address, before) in undo.accounts.iter().rev() {
            self.accounts.insert(*address, before.clone());
        }
        for (address, slot, before) in undo.slots.iter().rev() {
            self.slots.insert((*address, *slot), *before);
        }
    }
}

/// The state after one block, for reading: the latest accounts, corrected by what later blocks changed.
#[derive(Debug)]
pub(super) struct StateView<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) past: Past,
    pub(super) blocks: &'a BlockStore,
}

impl StateView<'_> {
    pub(super) fn info(&self, address: &Address) -> Option<&AccountInfo> {
        match self.past.accounts.get(address) {
            Some(before) => before.as_ref(),
            None => self.accounts.info(address),
        }
    }

    pub(super) fn storage(&self, address: &Address, slot: &U256) -> U256 {
        match self.past.slots.get(&(*address, *slot)) {
            Some(before) => *before,
            None => self.accounts.storage(address, slot),
        }
    }
}

impl Database for &StateView<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.info(&address).cloned())
    }

    fn code_by_hash(&mut self, _code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(Bytecode::default()) // Not asked for: every account is handed out with its code.
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(StateView::storage(self, &address, &slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self.blocks.hash(number).unwrap_or_default())
    }
}

/// The latest state while a block is being executed.
#[derive(Debug)]
pub(super) struct HeadState<'a> {
    pub(super) accounts: &'a mut Accounts,
    pub(super) blocks: &'a BlockStore,
}

impl Database for HeadState<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.accounts.info(&address).cloned())
    }

    fn code_by_hash(&mut self, _code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(Bytecode::default()) // Not asked for: every account is handed out with its code.
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.accounts.storage(&address, &slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self.blocks.hash(number).unwrap_or_default())
    }
}
