//! Which roles of the control plane watch this server: what `componentstatuses` says of them.

use crate::authn::Identity;
use crate::ctx::Ctx;
use crate::lookup::Resource;
use api::{Kind, Object, Status};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A role's name, the user that it is, and the lease by which the one of several that acts is known.
const ROLES: [(&str, &str, &str); 2] = [
    ("controller-manager", "system:kube-controller-manager", "kube-controller-manager"),
    ("scheduler", "system:kube-scheduler", "kube-scheduler"),
];
const LEASES: Resource = Resource { group: "coordination.k8s.io", version: "v1", plural: "leases" };

/// How many watches each role has open.
#[derive(Debug, Default)]
pub(crate) struct Presence([Arc<AtomicUsize>; ROLES.len()]);

/// A watch of a role, as long as it is open.
#[derive(Debug)]
pub(crate) struct Here(Arc<AtomicUsize>);

impl Drop for Here {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Presence {
    /// Counts a watch, if a role asks for it.
    pub(crate) fn enter(&self, identity: &Identity) -> Option<Here> {
        let role = ROLES.iter().position(|(_, user, _)| *user == identity.user().name)?;
        let count = self.0[role].clone();
        count.fetch_add(1, Ordering::Relaxed);
        Some(Here(count))
    }

    fn watches(&self, role: usize) -> bool {
        self.0[role].load(Ordering::Relaxed) > 0
    }
}

/// The roles and the store, as they are now, in the order of their names.
pub(crate) async fn statuses(ctx: &Ctx, kind: &Kind) -> Result<Vec<Object>, Status> {
    let mut all = Vec::with_capacity(ROLES.len() + 1);
    for (role, (name, _, lease)) in ROLES.iter().enumerate() {
        let found = match ctx.presence.watches(role) || renewed(ctx, lease).await? {
            true => Ok("ok".to_owned()),
            false => Err(format!("no {name} watches this server and none holds the lease kube-system/{lease}")),
        };
        all.push(status(kind, name, found)?);
    }
    let store = ctx.registry.storage().get(crate::registry::ROOT).await;
    all.insert(1, status(kind, "etcd-0", store.map(|_| "ok".to_owned()).map_err(|e| e.message))?);
    Ok(all)
}

fn status(kind: &Kind, name: &str, found: Result<String, String>) -> Result<Object, Status> {
    let condition = match found {
        Ok(message) => json!({"type": "Healthy", "status": "True", "message": message}),
        Err(error) => json!({"type": "Healthy", "status": "False", "message": error}),
    };
    let object = json!({
        "apiVersion": kind.api_version(), "kind": kind.names.kind,
        "metadata": {"name": name}, "conditions": [condition],
    });
    Object::from_typed(&object).map_err(|e| Status::internal(format!("describing {name}: {e}")))
}

/// Whether somebody has renewed a lease lately enough to hold it: on another server, perhaps.
async fn renewed(ctx: &Ctx, name: &str) -> Result<bool, Status> {
    let Some(lease) = ctx.registry.find(LEASES, "kube-system", name).await? else { return Ok(false) };
    let renewed = lease.str_at(&["spec", "renewTime"]).parse::<jiff::Timestamp>();
    let seconds = lease.i64_at(&["spec", "leaseDurationSeconds"]).unwrap_or(0);
    let held = !lease.str_at(&["spec", "holderIdentity"]).is_empty();
    Ok(held && renewed.is_ok_and(|t| t.as_second().saturating_add(seconds) >= jiff::Timestamp::now().as_second()))
}
