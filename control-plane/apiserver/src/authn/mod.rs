//! Who is asking.
//!
//! INVARIANT: an [`Identity`] is built only in this module: from a certificate, a token, or by a caller in this
//! process. Nothing that came over the network can carry one in.

pub(crate) mod bearer;
mod bootstrap;
mod impersonate;

use crate::ctx::Ctx;
use crate::pki;
use api::Status;
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;

/// The attributes of a caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: User,
}

impl Identity {
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The identity of a role that runs in this process.
    pub(crate) fn internal(user: &InternalUser) -> Identity {
        let (name, groups): (String, &[&str]) = match user {
            InternalUser::Apiserver => ("system:apiserver".into(), &["system:masters"]),
            InternalUser::Admin => ("kubernetes-admin".into(), &["system:masters"]),
            InternalUser::Scheduler => ("system:kube-scheduler".into(), &[]),
            InternalUser::ControllerManager => ("system:kube-controller-manager".into(), &[]),
            InternalUser::Controller(name) => (
                format!("system:serviceaccount:kube-system:{name}"),
                &["system:serviceaccounts", "system:serviceaccounts:kube-system"],
            ),
            InternalUser::Node(name) => (format!("system:node:{name}"), &["system:nodes"]),
            InternalUser::Proxy => ("system:kube-proxy".into(), &[]),
        };
        let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
        Identity { user: User { name, groups, ..User::default() } }
    }
}

/// The callers that may live in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InternalUser {
    Apiserver,
    /// `system:masters`.
    Admin,
    Scheduler,
    ControllerManager,
    /// A controller under its own service account in `kube-system`.
    Controller(String),
    Node(String),
    Proxy,
}

impl InternalUser {
    /// The program that plays this role in other clusters.
    pub(crate) fn program(&self) -> Option<&'static str> {
        match self {
            InternalUser::Apiserver => Some("kube-apiserver"),
            InternalUser::Scheduler => Some("kube-scheduler"),
            InternalUser::ControllerManager | InternalUser::Controller(_) => Some("kube-controller-manager"),
            InternalUser::Node(_) => Some("kubelet"),
            InternalUser::Proxy => Some("kube-proxy"),
            InternalUser::Admin => None,
        }
    }
}

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";

/// Finds out who sent a request, impersonation headers not yet applied. Without credentials: `system:anonymous`.
pub(crate) async fn authenticate(
    ctx: &Ctx,
    parts: &http::request::Parts,
    peer: Option<&[CertificateDer<'static>]>,
) -> Result<Identity, Status> {
    if let Some((user, ends)) = peer.and_then(|chain| certificate_user(chain.first()?)) {
        ctx.metrics.door.certificate(ends - jiff::Timestamp::now().as_second());
        return Ok(Identity { user });
    }
    let Some(token) = bearer::token_of(&parts.headers) else {
        return Ok(Identity {
            user: User { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..User::default() },
        });
    };
    let audiences = [ctx.tokens.issuer().to_owned()];
    match bearer::user(ctx, &token, &audiences).await? {
        Ok((user, _)) => Ok(Identity { user }),
        Err(_) => Err(Status::unauthorized()),
    }
}

pub(crate) use bearer::is_spaced;

/// The user that a client certificate names, and its end in seconds of the epoch. The chain has been verified by the TLS acceptor.
fn certificate_user(leaf: &CertificateDer<'_>) -> Option<(User, i64)> {
    let (name, mut groups, ends) = pki::user_of(leaf)?;
    if !groups.iter().any(|g| g == AUTHENTICATED) {
        groups.push(AUTHENTICATED.into());
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, leaf);
    let digest: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let extra = BTreeMap::from([(bearer::CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={digest}")])]);
    Some((User { name, groups, extra, ..User::default() }, ends))
}

/// Applies `Impersonate-*` headers, after asking authz whether the caller may.
pub(crate) async fn impersonate(
    ctx: &Ctx,
    parts: &http::request::Parts,
    identity: Identity,
) -> Result<Identity, Status> {
    impersonate::apply(ctx, parts, identity).await
}
