//! Several RPC endpoints of one chain: which of them is asked, and whether they tell the same story.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::{BlockResponse, Ethereum},
    primitives::{B256, Bytes},
    providers::{Provider, RootProvider},
    rpc::{
        client::RpcClient,
        types::{TransactionInput, TransactionRequest},
    },
    sol_types::SolCall,
    transports::TransportResult,
};
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{client::ChainClient, error::ChainError, views::Head};

/// An endpoint whose latest block is this much older (seconds) than that of the others lags.
const LAG_SECONDS: u64 = 60;

/// The endpoints, and the one that is asked at present.
pub(super) struct Endpoints {
    providers: Vec<RootProvider<Ethereum>>,
    current: AtomicUsize,
}

impl Endpoints {
    pub(super) fn new(clients: Vec<RpcClient>) -> Self {
        Self {
            providers: clients.into_iter().map(RootProvider::new).collect(),
            current: AtomicUsize::new(0),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.providers.len()
    }

    /// The endpoint that is asked, and its place in the configuration. `None` if there is none at all.
    pub(super) fn current(&self) -> Option<(usize, RootProvider<Ethereum>)> {
        let place = self.current.load(Ordering::Relaxed);
        Some((place, self.providers.get(place)?.clone()))
    }

    /// Asks the next endpoint from now on, unless somebody has moved on from `place` already.
    pub(super) fn leave(&self, place: usize) {
        let next = (place + 1) % self.providers.len().max(1);
        self.choose(place, next);
    }

    fn choose(&self, from: usize, to: usize) {
        let moved = self
            .current
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        if from != to && moved.is_ok() {
            info!(
                from,
                to, "another RPC endpoint is asked (places in chain.rpc, from 0)"
            );
        }
    }
}

/// What an endpoint says of one block: its hash, and the state of the round in it.
type Story = (B256, Bytes);

impl ChainClient {
    /// Compares the endpoints, where there are several: their latest blocks, and what they say of a block that all of
    /// them should agree on, as deep as the confirmations that the node waits for. An endpoint that lags, is silent or
    /// contradicts the majority is not asked further.
    ///
    /// # Errors
    /// [`ChainError::Contradiction`] if no majority agrees: then nobody knows what the chain says, and nothing that
    /// depends on it may be done.
    pub async fn cross_check(&self) -> Result<(), ChainError> {
        let endpoints = &self.inner.endpoints;
        if endpoints.count() < 2 {
            return Ok(());
        }
        let heads = self
            .ask_all(|provider| async move {
                let latest = BlockNumberOrTag::Latest;
                Ok(provider
                    .get_block_by_number(latest)
                    .await?
                    .map(|block| Head {
                        number: block.header().number,
                        timestamp: block.header().timestamp,
                    }))
            })
            .await;
        let known: Vec<Head> = heads.iter().copied().flatten().collect();
        let Some(reference) = reference(&known) else {
            // Nobody answers: the next request says so.
            return Ok(());
        };
        let lags = |head: &Head| head.timestamp + LAG_SECONDS < reference.timestamp;
        for (place, head) in heads.iter().enumerate() {
            if let Some(head) = head.filter(lags) {
                let behind = reference.timestamp - head.timestamp;
                warn!(place, block = head.number, behind, "an RPC endpoint lags");
            }
        }
        let lowest = known
            .iter()
            .filter(|head| !lags(head))
            .map(|head| head.number)
            .min();
        let number = lowest
            .unwrap_or(reference.number)
            .saturating_sub(self.settings().confirmations);
        let coordinator = self.deployment().coordinator;
        let stories = self
            .ask_all(|provider| async move {
                let Some(block) = provider.get_block_by_number(number.into()).await? else {
                    return Ok(None);
                };
                let status =
                    TransactionRequest::default()
                        .to(coordinator)
                        .input(TransactionInput::new(
                            Coordinator::roundStatusCall {}.abi_encode().into(),
                        ));
                let status = provider.call(status).block(BlockId::number(number)).await?;
                Ok(Some((block.header().hash, status)))
            })
            .await;
        let fit = |place: usize| heads[place].is_some_and(|head| !lags(&head));
        self.judge(number, &stories, fit)
    }

    /// Moves away from an endpoint that is not with the majority.
    fn judge(
        &self,
        number: u64,
        stories: &[Option<Story>],
        fit: impl Fn(usize) -> bool,
    ) -> Result<(), ChainError> {
        let mut supporters: BTreeMap<&Story, usize> = BTreeMap::new();
        for story in stories.iter().flatten() {
            *supporters.entry(story).or_default() += 1;
        }
        let answers: usize = supporters.values().sum();
        let majority = supporters
            .into_iter()
            .find(|(_, count)| 2 * count > answers)
            .map(|(story, _)| story);
        let Some(majority) = majority else {
            if answers == 0 {
                return Ok(());
            }
            return Err(ChainError::Contradiction {
                block: number,
                answers,
            });
        };
        let good = |place: usize| fit(place) && stories[place].as_ref() == Some(majority);
        for (place, story) in stories.iter().enumerate() {
            if story.as_ref().is_some_and(|story| story != majority) {
                warn!(
                    place,
                    block = number,
                    "an RPC endpoint contradicts the others"
                );
            }
        }
        let endpoints = &self.inner.endpoints;
        if let Some((place, _)) = endpoints.current()
            && !good(place)
            && let Some(better) = (0..stories.len()).find(|place| good(*place))
        {
            endpoints.choose(place, better);
        }
        Ok(())
    }

    /// Asks every endpoint the same; those that fail, or are silent, have no answer.
    async fn ask_all<T, F>(&self, ask: impl Fn(RootProvider<Ethereum>) -> F) -> Vec<Option<T>>
    where
        F: Future<Output = TransportResult<Option<T>>>,
    {
        let limit = self.settings().request_timeout;
        let asked = self
            .inner
            .endpoints
            .providers
            .iter()
            .map(|provider| timeout(limit, ask(provider.clone())));
        futures::future::join_all(asked)
            .await
            .into_iter()
            .map(|answer| answer.ok()?.ok()?)
            .collect()
    }
}

/// The head that the others are measured by: of two the later; of more the middle one, so that a single endpoint that
/// invents blocks does not make the honest ones look late.
fn reference(heads: &[Head]) -> Option<Head> {
    let mut sorted = heads.to_vec();
    sorted.sort_by_key(|head| head.timestamp);
    sorted.get(sorted.len() / 2).copied()
}
