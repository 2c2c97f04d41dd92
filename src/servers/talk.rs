//! What a server that joins and the one that it asks say to one another: a question and an answer, each a length and JSON.

use anyhow::{Context, ensure};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A question is a secret, an answer six files of a few hundred bytes each.
pub const MAX_MESSAGE: u32 = 256 << 10;

/// What a server is let in with.
#[derive(Serialize, Deserialize)]
pub struct Token {
    /// Where a server answers those that join.
    pub server: String,
    /// SHA-256 of the members' authority.
    pub authority: String,
    pub secret: String,
}

#[derive(Serialize, Deserialize)]
pub struct Question {
    pub secret: String,
}

#[derive(Serialize, Deserialize)]
pub enum Answer {
    Welcome(Box<Welcome>),
    Refused(String),
}

/// What a server must know and have to be one of the cluster's.
#[derive(Serialize, Deserialize)]
pub struct Welcome {
    pub service_cidr: IpNet,
    #[serde(default)]
    pub second_service_cidr: Option<IpNet>,
    pub pod_cidr: IpNet,
    /// Where members of the store are.
    pub members: Vec<String>,
    pub files: Vec<(String, String)>,
}

pub async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= MAX_MESSAGE);
    stream.write_u32(length.context("a message is longer than any may be")?).await?;
    stream.write_all(&text).await?;
    Ok(stream.flush().await?)
}

pub async fn receive<T: for<'a> Deserialize<'a>>(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<T> {
    let length = stream.read_u32().await?;
    ensure!(length <= MAX_MESSAGE, "a message is longer than any may be");
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).await?;
    serde_json::from_slice(&text).context("a message that is none")
}
