//! `smartnode`: the Smartnodes node. See `smartnode --help`.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    smartnodes_node::cli::main()
}

/// The simulator links the library and has no use for this program.
#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    eprintln!(
        "error: this smartnode was built with --cfg madsim; build it with plain `cargo build`"
    );
    std::process::ExitCode::from(2)
}
