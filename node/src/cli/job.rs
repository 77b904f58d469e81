//! `smartnode job`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{ConfigArg, amount::Sno, config::Loaded, error::CliError, output::Output, start};
use crate::{
    jobs::JobRequest,
    p2p::handshake::Role,
    roles::RoleState,
    work::{Task, TaskKind},
};

#[derive(Subcommand)]
pub(super) enum JobCommand {
    /// Have a hash chain computed by workers, and verify what they return
    Submit(SubmitArgs),
}

#[derive(Args)]
pub(super) struct SubmitArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Steps of each hash chain
    #[arg(long)]
    steps: u64,
    /// How many tasks the job has, each for one worker
    #[arg(long, default_value_t = 1)]
    tasks: u16,
    /// What the chains start from
    #[arg(long, default_value = "")]
    input: String,
    /// What the job pays, such as "50 SNO"; without it, a free job is asked for
    #[arg(long)]
    payment: Option<Sno>,
    /// Tells equal jobs apart; the same nonce finds the same job again [default: random]
    #[arg(long)]
    nonce: Option<u64>,
    /// Wait for the results and verify them, rather than only until a validator has admitted the job
    #[arg(long)]
    wait: bool,
}

pub(super) async fn job(command: JobCommand, output: &Output) -> Result<(), CliError> {
    let JobCommand::Submit(args) = command;
    let loaded = Loaded::read(&args.config.config)?;
    loaded.require(Role::User, "submit jobs")?;
    let identity = loaded.identity()?;
    let request = request(&args, &identity)?;
    request
        .check()
        .map_err(|error| CliError::value("job", error))?;
    let nonce = request.nonce;
    let node = start::node(&loaded, identity).await?;
    let RoleState::User(user) = node.role() else {
        return Err(CliError::Stopped("it did not start as a user".to_owned()));
    };
    let id = request.job_id(&user.ctx.domain);
    tracing::info!(job = %id, nonce, "submitting");
    let submitting = async {
        if args.wait {
            user.run_job(request).await.map(|done| Some(done.outputs))
        } else {
            user.submit_job(request).await.map(|_| None)
        }
    };
    let outputs = tokio::select! {
        biased;
        done = submitting => done.map_err(CliError::User)?,
        stopped = start::stop_signal() => {
            stopped?;
            return Err(CliError::Interrupted);
        }
    };
    let mut shown = json!({ "job": id, "nonce": nonce, "state": "admitted" });
    if let Some(outputs) = outputs {
        shown["state"] = json!("complete");
        shown["outputs"] = outputs.iter().map(|output| json!(output.output)).collect();
    }
    output.result(&shown);
    Ok(())
}

fn request(
    args: &SubmitArgs,
    identity: &crate::identity::Identity,
) -> Result<JobRequest, CliError> {
    let payment = match args.payment {
        None => 0,
        Some(Sno(amount)) => amount.try_into().map_err(|_| {
            CliError::value("--payment", "it is more than a job can pay (2^128 wei)")
        })?,
    };
    // Each task computes a chain of its own.
    let task = |index: u16| Task {
        kind: TaskKind::HashChain { steps: args.steps },
        input: [args.input.as_bytes(), &index.to_be_bytes()].concat(),
    };
    Ok(JobRequest {
        user: identity.address(),
        network: "hash-chain".to_owned(),
        tasks: (0..args.tasks).map(task).collect(),
        payment,
        nonce: args.nonce.unwrap_or_else(rand::random),
    })
}
