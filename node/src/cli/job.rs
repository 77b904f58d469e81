//! `smartnode job`.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArg, amount::Sno, config::Loaded, error::CliError, output::Output, start};
use crate::{
    jobs::JobRequest,
    p2p::handshake::Role,
    roles::RoleState,
    work::{
        Task, TaskKind, TaskOutput, TaskProof,
        hash_chain::HashChain,
        matmul::{Factors, Matmul},
        wasm::{Outcome, Wasm},
    },
};

#[derive(Subcommand)]
pub(super) enum JobCommand {
    /// Have a WebAssembly module, a matrix product or a hash chain computed by workers, and verify what they return
    Submit(SubmitArgs),
}

#[derive(Args)]
pub(super) struct SubmitArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    work: WorkArgs,
    /// File with a task's input; repeated, the job has a task for each. Without it, a task's input is its number
    #[arg(long, value_name = "FILE", conflicts_with = "tasks")]
    input: Vec<PathBuf>,
    /// How many tasks the job has, each for one worker
    #[arg(long, default_value_t = 1)]
    tasks: u16,
    /// Fuel that the module may use
    #[arg(long, default_value_t = 100_000_000, conflicts_with_all = ["steps", "matmul"])]
    fuel: u64,
    /// Memory that the module may have, in pages of 64 KiB
    #[arg(long, default_value_t = 64, conflicts_with_all = ["steps", "matmul"])]
    pages: u32,
    /// Directory that is made for the results, as files 0, 1, … in the order of the tasks
    #[arg(long, value_name = "DIR", requires = "wait")]
    out: Option<PathBuf>,
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

/// What is to be computed: one of these.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct WorkArgs {
    /// A WebAssembly module that exports `memory`, `alloc` and `run`
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// The product of two matrices with so many rows: drawn from the input, or with --input the file's
    #[arg(long, value_name = "ROWS")]
    matmul: Option<u16>,
    /// A hash chain of so many steps
    #[arg(long)]
    steps: Option<u64>,
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
    if let Some(directory) = &args.out {
        fs::create_dir(directory).map_err(|error| CliError::file(directory, &error))?;
    }
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
        shown["outputs"] = outputs.iter().map(show).collect();
        if let Some(directory) = &args.out {
            for (index, bytes) in outputs.iter().map(TaskOutput::bytes).enumerate() {
                let path = directory.join(index.to_string());
                fs::write(&path, bytes.unwrap_or_default())
                    .map_err(|error| CliError::file(&path, &error))?;
            }
        }
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
    let inputs = if args.input.is_empty() {
        (0..args.tasks)
            .map(|index| index.to_be_bytes().to_vec())
            .collect()
    } else {
        let read = |path: &PathBuf| fs::read(path).map_err(|error| CliError::file(path, &error));
        args.input.iter().map(read).collect::<Result<Vec<_>, _>>()?
    };
    let kind = kind(args)?;
    let tasks: Vec<Task> = inputs
        .into_iter()
        .map(|input| Task {
            kind: kind.clone(),
            input,
        })
        .collect();
    Ok(JobRequest {
        user: identity.address(),
        network: kind.network().to_owned(),
        tasks,
        payment,
        nonce: args.nonce.unwrap_or_else(rand::random),
    })
}

fn kind(args: &SubmitArgs) -> Result<TaskKind, CliError> {
    let WorkArgs {
        wasm,
        matmul,
        steps,
    } = &args.work;
    Ok(match (wasm, matmul, steps) {
        (Some(path), _, _) => TaskKind::Wasm(Wasm {
            module: fs::read(path).map_err(|error| CliError::file(path, &error))?,
            fuel: args.fuel,
            pages: args.pages,
        }),
        (_, Some(size), _) => TaskKind::Matmul(Matmul {
            size: *size,
            factors: if args.input.is_empty() {
                Factors::Seeded
            } else {
                Factors::Inline
            },
        }),
        (_, _, Some(steps)) => TaskKind::HashChain(HashChain { steps: *steps }),
        (None, None, None) => {
            return Err(CliError::value(
                "--wasm, --matmul or --steps",
                "one of them is needed",
            ));
        }
    })
}

/// A result as it is printed: short; `--out` has the bytes.
fn show(result: &TaskOutput) -> Value {
    match &result.proof {
        TaskProof::Wasm(run) => match run.outcome {
            Outcome::Returned(ref bytes) => {
                json!({ "output": result.output, "fuel": run.fuel, "bytes": bytes.len() })
            }
            Outcome::Faulted(fault) => {
                json!({ "output": result.output, "fuel": run.fuel, "fault": fault.to_string() })
            }
        },
        TaskProof::HashChain(_) | TaskProof::Matmul(_) => json!(result.output),
    }
}
