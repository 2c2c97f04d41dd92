//! exec and attach: a client's channels joined to an executor's streams, whichever protocol carries them.

mod resize;
pub(super) mod spdy;
pub(super) mod websocket;

use super::connection::Limits;
use super::door::Offer;
use super::mux;
use super::outlet::Outlet;
use container::{ExecSpec, Executor, Stdio};
use rpc::cri::{AttachRequest, ExecRequest};
use std::sync::Arc;
use stream::channel::{self, Dialect, Ending};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

pub(super) const OFFER: Offer = Offer {
    spdy: &[channel::V4, channel::V3, channel::V2, channel::V1],
    websocket: &[channel::V5, channel::V4, channel::V4_BASE64, channel::V1, channel::V1_BASE64, channel::UNNAMED],
};

/// Output that the executor has written and the client has not been sent.
const OUTPUT_BUFFER: usize = 64 << 10;

/// What is to be run, and for which streams.
pub(super) struct Session {
    executor: Arc<dyn Executor>,
    container: String,
    action: Action,
    wants: Wants,
}

enum Action {
    Exec(Vec<String>),
    Attach,
}

/// The streams that were asked for over gRPC.
#[derive(Debug, Clone, Copy)]
struct Wants {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

/// The client's side of a session.
struct Client {
    stdin: Option<DuplexStream>,
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
    sizes: Option<Receiver<(u16, u16)>>,
    /// Takes what there is to say of the end.
    error: Outlet,
    dialect: Dialect,
    gone: CancellationToken,
    /// Our directions of streams that we only read; dropping one tells the client's side that nobody does.
    held: Vec<mux::Output>,
}

impl Session {
    pub(super) fn exec(executor: Arc<dyn Executor>, request: ExecRequest) -> Session {
        let ExecRequest { container_id, cmd, tty, stdin, stdout, stderr } = request;
        let wants = Wants { stdin, stdout, stderr, tty };
        Session { executor, container: container_id, action: Action::Exec(cmd), wants }
    }

    pub(super) fn attach(executor: Arc<dyn Executor>, request: AttachRequest) -> Session {
        let AttachRequest { container_id, stdin, tty, stdout, stderr } = request;
        let wants = Wants { stdin, stdout, stderr, tty };
        Session { executor, container: container_id, action: Action::Attach, wants }
    }

    /// Runs it to its end and tells the client how it went.
    async fn run(self, client: Client, limits: Limits) {
        let Client { stdin, stdout, stderr, sizes, error, dialect, gone, held } = client;
        let ended = CancellationToken::new();
        let (stdout, pump_stdout) = output(stdout, &ended, limits);
        let (stderr, pump_stderr) = output(stderr, &ended, limits);
        let stdin = stdin.map(|s| Box::new(s) as Box<dyn AsyncRead + Send + Unpin>);
        let act = async {
            let ending = self.act(Stdio { stdin, stdout, stderr, resize: sizes }, &gone, limits).await;
            ended.cancel();
            ending
        };
        let (ending, (), ()) = tokio::join!(act, pump_stdout, pump_stderr);
        let told = ending.told(dialect);
        if told.is_empty() || error.data(told.into()).await.is_ok() {
            error.finish().await;
        }
        drop(held);
    }

    async fn act(&self, stdio: Stdio, gone: &CancellationToken, limits: Limits) -> Ending {
        match &self.action {
            Action::Exec(command) => {
                let spec = ExecSpec { command: command.clone(), tty: self.wants.tty };
                // A client that leaves ends the command's input, and its output breaks; the command itself goes on.
                match self.executor.exec(&self.container, &spec, stdio).await {
                    Ok(code) => Ending::Exit(code),
                    Err(error) => Ending::Failed(format!("error executing command in container: {error}")),
                }
            }
            Action::Attach => {
                let parted = async {
                    gone.cancelled().await;
                    tokio::time::sleep(limits.parting).await;
                };
                tokio::select! {
                    attached = self.executor.attach(&self.container, stdio) => match attached {
                        Ok(()) => Ending::Exit(0),
                        Err(error) => Ending::Failed(format!("error attaching to container: {error}")),
                    },
                    () = parted => Ending::Exit(0),
                }
            }
        }
    }
}

type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The executor's end of an output, and what moves its bytes to the client.
fn output(
    outlet: Option<Outlet>,
    ended: &CancellationToken,
    limits: Limits,
) -> (Option<Writer>, impl Future<Output = ()> + use<>) {
    let (near, far) = outlet.is_some().then(|| tokio::io::duplex(OUTPUT_BUFFER)).unzip();
    let ended = ended.clone();
    let pump = async move {
        if let (Some(outlet), Some(from)) = (outlet, near) {
            outlet.pump(from, &ended, limits.quiet).await;
        }
    };
    (far.map(|s| Box::new(s) as Writer), pump)
}
