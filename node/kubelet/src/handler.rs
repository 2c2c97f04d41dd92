//! One attempt at a probe or a lifecycle hook: a command in the container, an HTTP GET, a TCP connection, a gRPC health check.

mod grpc;
mod http;

use crate::runtime::Runtime;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::time::Duration;

/// What an attempt is made at.
#[derive(Clone)]
pub struct Target {
    pub runtime: Runtime,
    /// The container's id in the runtime.
    pub id: String,
    pub container: Container,
    /// The pod's address.
    pub ip: String,
}

pub enum Action<'a> {
    Exec(&'a ExecAction),
    Http(&'a HTTPGetAction),
    Tcp(&'a TCPSocketAction),
    Grpc(&'a GRPCAction),
    Sleep(&'a SleepAction),
}

impl<'a> Action<'a> {
    pub fn of_probe(p: &'a Probe) -> Option<Action<'a>> {
        let exec = p.exec.as_ref().map(Action::Exec);
        let rest = p.http_get.as_ref().map(Action::Http).or(p.tcp_socket.as_ref().map(Action::Tcp));
        exec.or(rest).or(p.grpc.as_ref().map(Action::Grpc))
    }

    pub fn of_hook(h: &'a LifecycleHandler) -> Option<Action<'a>> {
        let exec = h.exec.as_ref().map(Action::Exec);
        let rest = h.http_get.as_ref().map(Action::Http).or(h.tcp_socket.as_ref().map(Action::Tcp));
        exec.or(rest).or(h.sleep.as_ref().map(Action::Sleep))
    }
}

/// `Err` carries what the user reads in the event.
pub async fn attempt(action: &Action<'_>, target: &Target, limit: Duration) -> Result<(), String> {
    let done = async {
        match action {
            Action::Exec(a) => exec(target, a, limit).await,
            Action::Http(a) => http::get(target, a).await,
            Action::Tcp(a) => {
                let port = port(&a.port, &target.container)?;
                let host = a.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&target.ip);
                tcp(host, port).await.map(drop)
            }
            Action::Grpc(a) => grpc::check(&target.ip, a).await,
            Action::Sleep(a) => {
                tokio::time::sleep(Duration::from_secs(u64::try_from(a.seconds).unwrap_or(0))).await;
                Ok(())
            }
        }
    };
    match tokio::time::timeout(limit, done).await {
        Ok(result) => result,
        Err(_) => Err(format!("timed out after {}s", limit.as_secs())),
    }
}

async fn exec(target: &Target, action: &ExecAction, limit: Duration) -> Result<(), String> {
    let command = action.command.clone().unwrap_or_default();
    let answer = target.runtime.exec_sync(&target.id, command, limit).await.map_err(|e| e.to_string())?;
    match answer.exit_code {
        0 => Ok(()),
        _ => {
            let output = [answer.stdout, answer.stderr].concat();
            Err(excerpt(&output))
        }
    }
}

/// The first part of an answer, as events show it.
fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 512;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}

async fn tcp(host: &str, port: u16) -> Result<tokio::net::TcpStream, String> {
    let at = host.trim_start_matches('[').trim_end_matches(']');
    tokio::net::TcpStream::connect((at, port)).await.map_err(|e| format!("dial tcp {host}:{port}: connect: {e}"))
}

/// A number, or the name of one of the container's ports.
fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(n) => Some(*n),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok())
        }
    };
    number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| format!("invalid port: {port:?}"))
}
