//! The front door of Wherry: parses the command line, builds what a role needs, and runs it. Nothing is decided here.

mod cli;
mod control_plane;
mod data_dir;
mod health;
mod image;
mod join;
mod leading;
mod logging;
mod machine;
mod machines;
mod manifests;
mod node;
mod objects;
mod peers;
mod progress;
mod ranges;
mod registry;
mod reset;
mod roles;
mod servers;
mod shim;
mod store;
mod tls;
mod up;
mod worker;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    // Both start processes by running this program again; they must come before any thread or argument of ours.
    oci::reexec();
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == wasm::HOST_COMMAND) {
        return wasm::host_main(args);
    }
    // The first process of a machine blocks signals, and what it starts would inherit that.
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    let cli = Cli::parse();
    logging::init(&cli.log);
    // What enters namespaces must do so before there are threads.
    let entered = match &cli.command {
        Command::Machine(cli::Machine::Enter(flags)) => Some(machines::inside::enter(flags)),
        Command::Machine(cli::Machine::Init(flags)) => Some(machines::inside::init(flags)),
        _ => None,
    };
    if let Some(result) = entered {
        return ended(result);
    }
    // The one TLS provider of the process; a second installation cannot happen before this line.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ended(run(cli))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wherry: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let stop = stop_on_signals()?;
        match cli.command {
            Command::Up(flags) => up::run(flags, stop).await,
            Command::Reset(flags) => reset::run(&flags.data_dir).await,
            Command::Image(command) => image::run(command).await,
            Command::Store(command) => store::run(command).await,
            Command::Shim(flags) => shim::run(&flags.data_dir, stop).await,
            Command::Apply(flags) => objects::apply(flags).await,
            Command::Get(flags) => objects::get(flags).await,
            Command::Logs(flags) => objects::logs(flags).await,
            Command::Delete(flags) => objects::delete(flags).await,
            Command::Server(flags) => up::server(flags, stop).await,
            Command::Machine(command) => machines::run(command).await,
            Command::Node(flags) => worker::run(flags, stop).await,
            Command::Kubelet(flags) => roles::kubelet(flags, stop).await,
            Command::Proxy(flags) => roles::proxy(flags, stop).await,
            Command::Dns(flags) => roles::dns(flags, stop).await,
            Command::Apiserver(flags) => control_plane::apiserver(flags, stop).await,
            Command::ControllerManager(flags) => control_plane::controller_manager(flags, stop).await,
            Command::Scheduler(flags) => control_plane::scheduler(flags, stop).await,
        }
    });
    // What still blocks a worker thread must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// Cancelled by the first Ctrl-C or SIGTERM; a second one ends the process at once.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        token.cancel();
        next().await;
        std::process::exit(130);
    });
    Ok(stop)
}
