//! `smartnode job`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::primitives::B256;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArg, amount::Sno, config::Loaded, error::CliError, output::Output, start};
use crate::{
    identity::Identity,
    jobs::{JobRequest, JobStatus, Shape},
    node::Node,
    p2p::handshake::Role,
    roles::{RoleState, user::User},
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
    /// Show how far a job is, as the validators tell
    Status(OneJob),
    /// Fetch the results of a complete job from its workers, and verify them
    Result(ResultArgs),
    /// Call a job off; an escrowed payment comes back once no update can complete the job any more
    Cancel(OneJob),
}

#[derive(Args)]
pub(super) struct OneJob {
    #[command(flatten)]
    config: ConfigArg,
    /// The job's id, as `job submit` printed it
    job: B256,
}

#[derive(Args)]
pub(super) struct ResultArgs {
    #[command(flatten)]
    job: OneJob,
    /// Directory that is made for the results, as files 0, 1, … in the order of the tasks
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
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
    /// A further stage: a module whose input is the result of the stage before. Repeated, there are several
    #[arg(long, value_name = "FILE", requires = "wasm", conflicts_with = "tasks")]
    then: Vec<PathBuf>,
    /// How many workers execute each task; the result is the one on which more than half of them agree
    #[arg(long, default_value_t = 1)]
    replication: u8,
    /// The network that is to run it, by its name on chain [default: the one named like the workload]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
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
    match command {
        JobCommand::Submit(args) => submit(args, output).await,
        JobCommand::Status(job) => status(job, output).await,
        JobCommand::Result(args) => result(args, output).await,
        JobCommand::Cancel(job) => cancel(job, output).await,
    }
}

/// A node that runs as a user for one command.
async fn user_node(loaded: &Loaded, identity: Identity) -> Result<(Node, Arc<User>), CliError> {
    let node = start::node(loaded, identity).await?;
    let RoleState::User(user) = node.role().clone() else {
        return Err(CliError::Stopped("it did not start as a user".to_owned()));
    };
    Ok((node, user))
}

/// Waits for `task`, or for the person to lose patience.
async fn or_interrupted<T>(task: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::select! {
        biased;
        done = task => done,
        stopped = start::stop_signal() => {
            stopped?;
            Err(CliError::Interrupted)
        }
    }
}

async fn submit(args: SubmitArgs, output: &Output) -> Result<(), CliError> {
    let loaded = Loaded::read(&args.config.config)?;
    loaded.require(Role::User, "submit jobs")?;
    let identity = loaded.identity()?;
    let request = request(&args, &identity)?;
    request
        .check()
        .map_err(|error| CliError::value("job", error))?;
    make_directory(args.out.as_deref())?;
    let nonce = request.nonce;
    let (_node, user) = user_node(&loaded, identity).await?;
    let id = request.job_id(&user.ctx.domain);
    tracing::info!(job = %id, nonce, "submitting");
    let outputs = or_interrupted(async {
        let done = if args.wait {
            user.run_job(request).await.map(|done| Some(done.outputs))
        } else {
            user.submit_job(request).await.map(|_| None)
        };
        done.map_err(CliError::User)
    })
    .await?;
    let mut shown = json!({ "job": id, "nonce": nonce, "state": "admitted" });
    if let Some(outputs) = outputs {
        deliver(&mut shown, &outputs, args.out.as_deref())?;
    }
    output.result(&shown);
    Ok(())
}

async fn status(args: OneJob, output: &Output) -> Result<(), CliError> {
    let loaded = Loaded::read(&args.config.config)?;
    loaded.require(Role::User, "ask for jobs")?;
    let (_node, user) = user_node(&loaded, loaded.identity()?).await?;
    let status = or_interrupted(async {
        user.connected().await;
        Ok(user.job_status(args.job).await)
    })
    .await?;
    let mut shown = json!({ "job": args.job });
    match status {
        None => shown["state"] = json!("unknown"),
        Some(JobStatus::Pending) => shown["state"] = json!("pending"),
        Some(JobStatus::Active { done, total }) => {
            shown["state"] = json!("active");
            shown["tasks_done"] = json!(done);
            shown["tasks"] = json!(total);
        }
        Some(JobStatus::Complete { results }) => {
            shown["state"] = json!("complete");
            shown["workers"] = results.iter().map(|result| json!(result.workers)).collect();
        }
        Some(JobStatus::Failed { reason }) => {
            shown["state"] = json!("failed");
            shown["reason"] = json!(reason);
        }
    }
    output.result(&shown);
    Ok(())
}

async fn result(args: ResultArgs, output: &Output) -> Result<(), CliError> {
    let id = args.job.job;
    let loaded = Loaded::read(&args.job.config.config)?;
    loaded.require(Role::User, "fetch results")?;
    let identity = loaded.identity()?;
    make_directory(args.out.as_deref())?;
    let (_node, user) = user_node(&loaded, identity).await?;
    let done = or_interrupted(async {
        user.connected().await;
        user.result(id).await.map_err(CliError::User)
    })
    .await?;
    let mut shown = json!({ "job": id, "state": "not complete" });
    if let Some(done) = done {
        deliver(&mut shown, &done.outputs, args.out.as_deref())?;
    }
    output.result(&shown);
    Ok(())
}

async fn cancel(args: OneJob, output: &Output) -> Result<(), CliError> {
    let loaded = Loaded::read(&args.config.config)?;
    loaded.require(Role::User, "call jobs off")?;
    let (_node, user) = user_node(&loaded, loaded.identity()?).await?;
    let refundable = or_interrupted(async {
        user.connected().await;
        user.cancel_job(args.job).await.map_err(CliError::Chain)
    })
    .await?;
    output.result(&json!({
        "job": args.job, "state": "called off", "refund_not_before": refundable,
    }));
    Ok(())
}

fn make_directory(directory: Option<&Path>) -> Result<(), CliError> {
    match directory {
        Some(path) => fs::create_dir(path).map_err(|error| CliError::file(path, &error)),
        None => Ok(()),
    }
}

/// Shows the results, and writes them where they are wanted.
fn deliver(
    shown: &mut Value,
    outputs: &[TaskOutput],
    directory: Option<&Path>,
) -> Result<(), CliError> {
    shown["state"] = json!("complete");
    shown["outputs"] = outputs.iter().map(show).collect();
    let Some(directory) = directory else {
        return Ok(());
    };
    for (index, bytes) in outputs.iter().map(TaskOutput::bytes).enumerate() {
        let path = directory.join(index.to_string());
        fs::write(&path, bytes.unwrap_or_default())
            .map_err(|error| CliError::file(&path, &error))?;
    }
    Ok(())
}

fn request(args: &SubmitArgs, identity: &Identity) -> Result<JobRequest, CliError> {
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
    let mut tasks: Vec<Task> = inputs
        .into_iter()
        .map(|input| Task {
            kind: kind.clone(),
            input,
        })
        .collect();
    if !args.then.is_empty() && tasks.len() > 1 {
        return Err(CliError::value(
            "--then",
            "a pipeline has one input; give --input once",
        ));
    }
    for module in &args.then {
        tasks.push(Task {
            kind: wasm(args, module)?,
            input: Vec::new(),
        });
    }
    Ok(JobRequest {
        user: identity.address(),
        network: args
            .network
            .clone()
            .unwrap_or_else(|| kind.network().to_owned()),
        shape: if args.then.is_empty() {
            Shape::Parallel
        } else {
            Shape::Pipeline
        },
        tasks,
        replication: args.replication,
        payment,
        nonce: args.nonce.unwrap_or_else(rand::random),
    })
}

fn kind(args: &SubmitArgs) -> Result<TaskKind, CliError> {
    let WorkArgs {
        wasm: module,
        matmul,
        steps,
    } = &args.work;
    Ok(match (module, matmul, steps) {
        (Some(path), _, _) => wasm(args, path)?,
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

fn wasm(args: &SubmitArgs, path: &Path) -> Result<TaskKind, CliError> {
    Ok(TaskKind::Wasm(Wasm {
        module: fs::read(path).map_err(|error| CliError::file(path, &error))?,
        fuel: args.fuel,
        pages: args.pages,
    }))
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
