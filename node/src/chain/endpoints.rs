//! Several RPC endpoints of one chain: which of them is asked, and whether they tell the same story.
//!
//! Of three or more that answer, the majority is believed: one that lags, lies or invents a future is left. Where exactly
//! two answer there is no majority, and neither is believed against the other. What both say counts: of their latest blocks
//! the lower one, if they agree on what is as deep below it as the node waits for. If they do not, or are further apart
//! than [`LAG_SECONDS`], nothing is decided until they agree, or a third one says who is right. One that answers alone is
//! believed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::{BlockResponse, Ethereum},
    providers::{Provider, RootProvider},
    rpc::{
        client::RpcClient,
        types::{TransactionInput, TransactionReceipt, TransactionRequest},
    },
    sol_types::SolCall,
    transports::TransportResult,
};
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{client::ChainClient, error::ChainError, journal::Pending, views::Head};
use crate::failpoint::sometimes;

/// An endpoint whose latest block is this much older (seconds) than that of the others lags.
const LAG_SECONDS: u64 = 60;
/// How often it is looked whether the one of two endpoints that is behind by some blocks has caught up.
const CATCH_UP_ATTEMPTS: u32 = 5;

/// The endpoints, and the one that is asked at present.
pub(super) struct Endpoints {
    providers: Vec<RootProvider<Ethereum>>,
    current: AtomicUsize,
    /// Which of them have said that they serve the deployment's chain. One that was silent at the start is asked when
    /// its turn comes.
    verified: Vec<AtomicBool>,
}

impl Endpoints {
    pub(super) fn new(clients: Vec<RpcClient>) -> Self {
        Self {
            verified: clients.iter().map(|_| AtomicBool::new(false)).collect(),
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
            sometimes!("chain/endpoint-left");
            info!(
                from,
                to, "another RPC endpoint is asked (places in chain.rpc, from 0)"
            );
        }
    }
}

impl ChainClient {
    /// Compares the endpoints, where there are several: their latest blocks, and what they say of a block that all of
    /// them should agree on, as deep as the confirmations that the node waits for. An endpoint that lags, is silent or
    /// contradicts the majority is not asked further.
    ///
    /// # Errors
    /// [`ChainError::Contradiction`] if no majority agrees, [`ChainError::Apart`] if two are all that answer and one of them
    /// is far ahead: then nobody knows what the chain says, and nothing that depends on it may be done.
    pub async fn cross_check(&self) -> Result<(), ChainError> {
        let endpoints = &self.inner.endpoints;
        if endpoints.count() < 2 {
            return Ok(());
        }
        let heads = self.heads().await?;
        let Some(lowest) = heads.iter().flatten().map(|head| head.number).min() else {
            // Nobody answers: the next request says so.
            return Ok(());
        };
        let confirmations = self.settings().confirmations;
        let number = lowest.saturating_sub(confirmations);
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
        // Nobody is asked for what the others do not bear out: of two the lower one, of more the middle one.
        let known: Vec<Head> = heads.iter().copied().flatten().collect();
        let borne_out = match pair(&heads) {
            Some((behind, _)) => behind.number,
            None => reference(&known).map_or(lowest, |head| head.number),
        };
        let highest = borne_out.saturating_add(confirmations);
        let fit = |place: usize| heads[place].is_some_and(|head| head.number <= highest);
        self.majority(number, &stories, fit).map(drop)
    }

    /// The latest blocks of the endpoints that answer and keep up.
    async fn heads(&self) -> Result<Vec<Option<Head>>, ChainError> {
        let mut heads = self
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
        if let Some((behind, ahead)) = pair(&heads) {
            if ahead.timestamp.abs_diff(behind.timestamp) > LAG_SECONDS {
                return Err(apart(behind, ahead));
            }
            return Ok(heads);
        }
        let known: Vec<Head> = heads.iter().copied().flatten().collect();
        let Some(reference) = reference(&known) else {
            return Ok(heads);
        };
        for (place, entry) in heads.iter_mut().enumerate() {
            if let Some(head) = entry
                .filter(|head| head.timestamp.saturating_add(LAG_SECONDS) < reference.timestamp)
            {
                let behind = reference.timestamp - head.timestamp;
                sometimes!("chain/endpoint-lags");
                warn!(place, block = head.number, behind, "an RPC endpoint lags");
                *entry = None;
            }
        }
        Ok(heads)
    }

    /// The latest block that several endpoints bear out: of two the lower one, of more the middle one. Of one endpoint, its
    /// own.
    ///
    /// # Errors
    /// [`ChainError::Apart`] if two are all that answer, and one of them is far ahead.
    pub async fn agreed_head(&self) -> Result<Head, ChainError> {
        if self.inner.endpoints.count() < 2 {
            return self.head().await;
        }
        let heads = self.heads().await?;
        let known: Vec<Head> = heads.iter().copied().flatten().collect();
        let agreed = match pair(&heads) {
            Some((behind, _)) => Some(behind),
            None => reference(&known),
        };
        match agreed {
            Some(head) => Ok(head),
            None => self.head().await,
        }
    }

    /// What the endpoints say that have block `at_least` and keep up: the answer of more than half of them. Where there
    /// is one endpoint, it is believed. `method` is for the error if none answers.
    ///
    /// # Errors
    /// [`ChainError::Contradiction`] if no majority agrees; [`ChainError::Apart`] if two are all that answer, and one of them
    /// does not get that far.
    pub(super) async fn agreed<T: PartialEq, F>(
        &self,
        method: &'static str,
        at_least: u64,
        ask: impl Fn(RootProvider<Ethereum>) -> F,
    ) -> Result<T, ChainError>
    where
        F: Future<Output = TransportResult<T>>,
    {
        if self.inner.endpoints.count() < 2 {
            return self.request(method, ask).await;
        }
        let heads = self.heads_with(at_least).await?;
        let has = |place: usize| heads[place].is_some_and(|head| head.number >= at_least);
        let mut answers = self
            .ask_all(|provider| {
                let asked = ask(provider);
                async move { asked.await.map(Some) }
            })
            .await;
        for (place, answer) in answers.iter_mut().enumerate() {
            if !has(place) {
                *answer = None;
            }
        }
        match self.majority(at_least, &answers, has)? {
            Some(place) => match answers.swap_remove(place) {
                Some(answer) => Ok(answer),
                None => self.request(method, ask).await,
            },
            None => self.request(method, ask).await,
        }
    }

    /// The heads, of two if possible when both have block `at_least`: one that has just heard of a block is not ahead of the
    /// other for long.
    async fn heads_with(&self, at_least: u64) -> Result<Vec<Option<Head>>, ChainError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let heads = self.heads().await?;
            match pair(&heads) {
                Some((behind, ahead)) if behind.number < at_least => {
                    if attempts == CATCH_UP_ATTEMPTS {
                        return Err(apart(behind, ahead));
                    }
                }
                _ => return Ok(heads),
            }
            sleep(self.settings().poll_interval).await;
        }
    }

    /// Whether the endpoints bear a receipt out: they agree on it, and its block is on chain. Not yet, if one of two has still
    /// to hear of its block.
    pub(super) async fn borne_out(
        &self,
        receipt: &TransactionReceipt,
        block: u64,
    ) -> Result<bool, ChainError> {
        let hash = receipt.transaction_hash;
        let said = Some((receipt.block_hash, receipt.status()));
        let agreed = if self.inner.endpoints.count() < 2 {
            said
        } else {
            let asked = self
                .agreed("eth_getTransactionReceipt", block, |provider| async move {
                    let receipt = provider.get_transaction_receipt(hash).await?;
                    Ok(receipt.map(|receipt| (receipt.block_hash, receipt.status())))
                })
                .await;
            match asked {
                Err(ChainError::Apart { seconds, .. }) if seconds <= LAG_SECONDS => {
                    return Ok(false);
                }
                asked => asked?,
            }
        };
        let on_chain = self.block_hash(block).await?;
        let true_one = agreed == said && on_chain.is_some() && on_chain == receipt.block_hash;
        if !true_one {
            warn!(%hash, block, "the chain does not bear out a receipt");
        }
        Ok(true_one)
    }

    /// Whether any endpoint has a receipt of one of these transactions. Moves on to one that has.
    pub(super) async fn known_anywhere(&self, pending: &Pending) -> bool {
        let endpoints = &self.inner.endpoints;
        if endpoints.count() < 2 {
            return false;
        }
        for attempt in &pending.attempts {
            let hash = attempt.hash;
            let known = self
                .ask_all(|provider| async move { provider.get_transaction_receipt(hash).await })
                .await;
            if let Some(place) = known.iter().position(Option::is_some) {
                warn!(%hash, place, "an RPC endpoint has a receipt that another one hides");
                if let Some((current, _)) = endpoints.current() {
                    endpoints.choose(current, place);
                }
                return true;
            }
        }
        false
    }

    /// Refuses to begin with an endpoint of another chain.
    pub(super) async fn check_endpoints(&self) -> Result<(), ChainError> {
        let expected = self.deployment().chain_id;
        let ids = self
            .ask_all(|provider| async move { provider.get_chain_id().await.map(Some) })
            .await;
        for (id, verified) in ids.iter().zip(&self.inner.endpoints.verified) {
            match id {
                Some(found) if *found != expected => {
                    return Err(ChainError::WrongChain {
                        expected,
                        found: *found,
                    });
                }
                Some(_) => verified.store(true, Ordering::Relaxed),
                None => {}
            }
        }
        Ok(())
    }

    /// Why an endpoint must not be asked, if it must not: it has not said yet that it serves the deployment's chain.
    pub(super) async fn foreign(&self, place: usize) -> Option<String> {
        let endpoints = &self.inner.endpoints;
        let verified = endpoints.verified.get(place)?;
        if verified.load(Ordering::Relaxed) {
            return None;
        }
        let limit = self.settings().request_timeout;
        let provider = endpoints.providers.get(place)?;
        let expected = self.deployment().chain_id;
        match timeout(limit, provider.get_chain_id()).await {
            Ok(Ok(found)) if found == expected => {
                verified.store(true, Ordering::Relaxed);
                None
            }
            Ok(Ok(found)) => {
                warn!(
                    place,
                    found, expected, "an RPC endpoint serves another chain; correct chain.rpc"
                );
                Some(format!("it serves chain {found}, not {expected}"))
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {limit:?}")),
        }
    }

    /// The place of a story that the majority tells; `None` if nobody tells any. Moves away from an endpoint that is not
    /// with the majority.
    fn majority<T: PartialEq>(
        &self,
        number: u64,
        stories: &[Option<T>],
        fit: impl Fn(usize) -> bool,
    ) -> Result<Option<usize>, ChainError> {
        let answers = stories.iter().flatten().count();
        if answers == 0 {
            return Ok(None);
        }
        let supporters = |story: &T| {
            stories
                .iter()
                .flatten()
                .filter(|other| *other == story)
                .count()
        };
        let place = stories.iter().position(|story| {
            story
                .as_ref()
                .is_some_and(|story| 2 * supporters(story) > answers)
        });
        let Some(majority) = place.and_then(|place| stories[place].as_ref()) else {
            sometimes!("chain/contradiction");
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
        Ok(place)
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

/// The two heads, the lower one first, if exactly two endpoints have told theirs.
fn pair(heads: &[Option<Head>]) -> Option<(Head, Head)> {
    let mut known = heads.iter().copied().flatten();
    let (one, two) = (known.next()?, known.next()?);
    if known.next().is_some() {
        return None;
    }
    Some(if one.number <= two.number {
        (one, two)
    } else {
        (two, one)
    })
}

fn apart(behind: Head, ahead: Head) -> ChainError {
    ChainError::Apart {
        behind: behind.number,
        ahead: ahead.number,
        seconds: ahead.timestamp.abs_diff(behind.timestamp),
    }
}

/// The head that the others are measured by, of three or more the middle one: a single endpoint that invents blocks does
/// not make the honest ones look late.
fn reference(heads: &[Head]) -> Option<Head> {
    let mut sorted = heads.to_vec();
    sorted.sort_by_key(|head| head.timestamp);
    sorted.get(sorted.len() / 2).copied()
}
