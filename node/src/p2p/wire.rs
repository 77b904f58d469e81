//! What two nodes say to each other directly (libp2p request-response, CBOR).

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::handshake::RoleStatement;
use crate::jobs::receipt::{Answer, Receipt, WorkOrder};
use crate::jobs::{JobRequest, JobStatus};
use crate::round::payload::SignedPayload;
use crate::signed::Signed;
use crate::work::TaskOutput;

/// Largest request in bytes.
pub const REQUEST_BYTES_MAX: u64 = 512 * 1024;
/// Largest response in bytes.
pub const RESPONSE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most ids in one list of receipts.
pub const RECEIPT_IDS_MAX: usize = 8_192;
/// Most receipts in one response.
pub const RECEIPTS_MAX: usize = 256;
/// Most bytes of receipts in one response. Any one receipt fits: see [`crate::jobs::JOB_RESULT_BYTES_MAX`].
pub const RECEIPTS_BYTES_MAX: usize = RESPONSE_BYTES_MAX as usize - 4 * 1024;
/// Largest receipt in bytes that is gossiped whole; of a larger one, only that it is there.
pub const GOSSIPED_RECEIPT_BYTES_MAX: usize = 64 * 1024;

/// What validators gossip.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Gossip {
    /// A receipt, with all that it takes to verify it.
    Receipt(Box<Signed<Receipt>>),
    /// A receipt that is too large to be pushed to everyone: who does not have it yet asks its issuer for it.
    Announcement {
        /// The receipt.
        receipt: B256,
        /// The validator that issued it.
        issuer: Address,
    },
    /// A validator has found the work in a receipt to be false. Others look at all of it then, and need not believe
    /// anybody.
    Refutation {
        /// The receipt.
        receipt: B256,
        /// What it is for ([`Slot::hash`](crate::jobs::receipt::Slot::hash)): other receipts for that are in doubt, too.
        slot: B256,
    },
}

/// A question to a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Who are you? Answered by anyone.
    Role {
        /// Fresh and random: the statement must repeat it.
        nonce: B256,
    },
    /// Worker to validator: offer me work and challenges.
    Register,
    /// Validator to worker: do this. Asked again, the worker gives the same answer, or says that it is still at work.
    Work(Box<WorkOrder>),
    /// Validator to worker: will you take this task? The answer reserves capacity until the work is asked for.
    Offer {
        /// The job.
        job: B256,
        /// Index of the task in the job.
        task: u16,
    },
    /// User to validator: run this job.
    SubmitJob(Box<Signed<JobRequest>>),
    /// User to validator: how far is my job?
    JobStatus {
        /// The job.
        job: B256,
    },
    /// User to validator: give this job up. What has been done of it counts for its workers.
    CancelJob {
        /// The job.
        job: B256,
    },
    /// User to worker or validator: give me the result of a task of my job.
    Output {
        /// The job.
        job: B256,
        /// Index of the task.
        task: u16,
    },
    /// Validator to validator: which receipts do you hold that no update has settled?
    ReceiptIds {
        /// The first [`RECEIPT_IDS_MAX`] of them after this one, zero for all.
        after: B256,
    },
    /// Validator to validator: give me these.
    Receipts {
        /// At most [`RECEIPTS_MAX`]; the response may have the first of them only.
        ids: Vec<B256>,
    },
    /// Validator to validator: the payload behind a proposal hash.
    Payload {
        /// The proposal hash, which is also the payload's key in the DHT.
        proposal: B256,
    },
    /// Worker to validator: what is my share in a distribution, and its proof?
    ClaimProof {
        /// The distribution.
        distribution_id: u64,
        /// The account that the leaf names.
        account: Address,
    },
}

impl Request {
    /// Name for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Role { .. } => "role",
            Self::Register => "register",
            Self::Work(_) => "work",
            Self::Offer { .. } => "offer",
            Self::SubmitJob(_) => "submit-job",
            Self::JobStatus { .. } => "job-status",
            Self::CancelJob { .. } => "cancel-job",
            Self::Output { .. } => "output",
            Self::ReceiptIds { .. } => "receipt-ids",
            Self::Receipts { .. } => "receipts",
            Self::Payload { .. } => "payload",
            Self::ClaimProof { .. } => "claim-proof",
        }
    }
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Role`].
    Role(Box<Signed<RoleStatement>>),
    /// To [`Request::Register`]: the validator knows the worker now.
    Registered,
    /// To [`Request::Work`]: done.
    Work(Box<Answer>),
    /// To [`Request::Work`]: at work; ask again.
    Working,
    /// To [`Request::Offer`]: taken.
    Accepted,
    /// To [`Request::SubmitJob`]: admitted under this id.
    JobAdmitted {
        /// The job.
        job: B256,
    },
    /// To [`Request::CancelJob`]: nothing more is done for it.
    JobCancelled,
    /// To [`Request::Output`].
    Output(Box<TaskOutput>),
    /// To [`Request::JobStatus`].
    JobStatus(Box<JobStatus>),
    /// To [`Request::ReceiptIds`].
    ReceiptIds(Vec<B256>),
    /// To [`Request::Receipts`]: the first of those that the peer has, up to [`RECEIPTS_BYTES_MAX`].
    Receipts(Vec<Signed<Receipt>>),
    /// To [`Request::Payload`].
    Payload(Box<SignedPayload>),
    /// To [`Request::ClaimProof`].
    ClaimProof {
        /// Capacity in the account's leaf.
        capacity: u128,
        /// OpenZeppelin-compatible Merkle proof.
        proof: Vec<B256>,
    },
    /// Any request: the peer will not or cannot, and says why.
    Refused(Refusal),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The asker's role does not allow it.
    #[error("only a verified {0} may ask this")]
    NotAllowed(super::handshake::Role),
    /// Nothing there (yet).
    #[error("not found here")]
    NotFound,
    /// No free capacity, or too many requests at once.
    #[error("busy: ask again later, or ask another")]
    Busy,
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The node cannot tell, for instance because its chain endpoint does not answer.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// This role does not serve such requests.
    #[error("this node does not serve such requests")]
    NotServed,
}
