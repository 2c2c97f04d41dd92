//! ResourceQuota: what a namespace may hold. Usage is raised in the quota's status by the very transaction that writes the
//! object, so that what is counted and what is there never part; the quota controller sets and lowers it, and a quota
//! whose status is still empty limits nothing.

use super::{Admission, Operation};
use crate::ctx::Ctx;
use crate::lookup::{self, Resource};
use crate::registry::{self, Beside};
use api::quota::{self, Usage};
use api::{Kind, Object, Status};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::OwnedMutexGuard;

/// Writers of one server take turns, so only other servers and the controller come between: often enough to get past them.
const TRIES: usize = 32;
/// Namespaces whose turns are remembered before those that nobody waits for are forgotten.
const TURNS_KEPT: usize = 1024;

/// Whose turn it is to use the quotas of a namespace: writers that all meet on one quota would make each other fail.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn take(&self, namespace: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock();
            if turns.len() >= TURNS_KEPT {
                turns.retain(|_, turn| turn.strong_count() > 0);
            }
            let known = turns.get(namespace).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(namespace.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

/// What a write uses, to be raised together with it.
pub(crate) struct Charge {
    namespace: String,
    /// The quotas as they are, and what is used of each.
    quotas: Vec<(Object, Usage)>,
    /// What a refusal names.
    at: (String, String, String),
    _turn: OwnedMutexGuard<()>,
}

pub(super) async fn validate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    let info = admission.info;
    if info.namespace.is_empty() || !uses(admission) {
        return Ok(());
    }
    if ctx.registry.all(lookup::RESOURCE_QUOTAS, Some(&info.namespace)).await?.is_empty() {
        return Ok(());
    }
    let turn = ctx.quota_turns.take(&info.namespace).await;
    let mut quotas = ctx.registry.all(lookup::RESOURCE_QUOTAS, Some(&info.namespace)).await?;
    quotas.sort_by(|a, b| a.name().cmp(b.name()));
    let Some(object) = admission.object.as_ref() else { return Ok(()) };
    let mut charged = Vec::new();
    for quota in quotas {
        if let Some(why) = unsaid(&quota, info, object) {
            return Err(admission.forbid(&format!("failed quota: {}: must specify {why}", quota.name())));
        }
        let more = growth(&quota, &info.group, &info.resource, object, admission.old);
        if charge(&quota, &more).map_err(|why| admission.forbid(&why))?.is_some() {
            charged.push((quota, more));
        }
    }
    if !admission.dry_run && !charged.is_empty() {
        let at = (info.group.clone(), info.resource.clone(), object.name().to_owned());
        admission.charge = Some(Charge { namespace: info.namespace.clone(), quotas: charged, at, _turn: turn });
    }
    Ok(())
}

/// New objects use quotas, and of others those that can grow.
fn uses(admission: &Admission<'_>) -> bool {
    const GROWING: [(Resource, &str); 3] =
        [(lookup::SERVICES, ""), (lookup::PERSISTENT_VOLUME_CLAIMS, ""), (lookup::PODS, "resize")];
    let created = admission.operation == Operation::Create && admission.info.subresource.is_empty();
    created || GROWING.into_iter().any(|(at, subresource)| admission.writes(at, subresource, &[Operation::Update]))
}

fn unsaid(quota: &Object, info: &crate::request::RequestInfo, object: &Object) -> Option<String> {
    let is_pod = info.group.is_empty() && info.resource == "pods";
    if !is_pod || !quota::covers(quota, "", "pods", object) {
        return None;
    }
    let hard = quota::amounts(quota, &["status", "hard"]);
    quota::unspecified(object, hard.keys().map(String::as_str))
}

/// What a write uses of a quota beyond what the object used before.
pub(super) fn growth(quota: &Object, group: &str, resource: &str, new: &Object, old: Option<&Object>) -> Usage {
    let of = |object: &Object| match quota::covers(quota, group, resource, object) {
        true => quota::usage(group, resource, object),
        false => Usage::new(),
    };
    let before = old.map(of).unwrap_or_default();
    let grown = of(new).into_iter().map(|(name, amount)| {
        let more = before.get(&name).map_or(amount, |before| amount.sub(*before));
        (name, more)
    });
    grown.filter(|(_, more)| more.signum() > 0).collect()
}

/// The quota with the usage added, `None` where it does not limit any of it; an error where it would be exceeded.
pub(super) fn charge(quota: &Object, usage: &Usage) -> Result<Option<Object>, String> {
    let hard = quota::amounts(quota, &["status", "hard"]);
    let used = quota::amounts(quota, &["status", "used"]);
    let asked: Usage = usage.iter().filter(|(k, _)| hard.contains_key(*k)).map(|(k, v)| (k.clone(), *v)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    let shown = |of: &Usage, keys: &[&String]| {
        let part = |k: &&String| of.get(*k).map(|v| format!("{k}={v}"));
        keys.iter().filter_map(part).collect::<Vec<_>>().join(",")
    };
    let unknown: Vec<&str> = asked.keys().filter(|k| !used.contains_key(*k)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {}, resources: {}", quota.name(), unknown.join(",")));
    }
    let over: Vec<&String> =
        asked.iter().filter(|(k, v)| used[*k].nanos() + v.nanos() > hard[*k].nanos()).map(|(k, _)| k).collect();
    if !over.is_empty() {
        return Err(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            quota.name(),
            shown(&asked, &over),
            shown(&used, &over),
            shown(&hard, &over)
        ));
    }
    let mut charged = quota.clone();
    for (key, amount) in &asked {
        charged.set(&["status", "used", key], used[key].add(*amount).to_string());
    }
    Ok(Some(charged))
}

impl Charge {
    /// The writes that raise the quotas.
    pub(crate) fn writes(&self, ctx: &Ctx) -> Result<Vec<Beside>, Status> {
        let kind = ctx.registry.known(lookup::RESOURCE_QUOTAS)?;
        let mut writes = Vec::with_capacity(self.quotas.len());
        for (quota, usage) in &self.quotas {
            if let Some(mut raised) = charge(quota, usage).map_err(|why| self.refuse(&why))? {
                registry::rules::update(&kind, &mut raised, quota, "status", &registry::now_text())?;
                writes.push(Beside::replace(&kind, &raised, quota));
            }
        }
        Ok(writes)
    }

    /// Looks at the quotas anew, after one of them was written by somebody else.
    async fn look_again(&mut self, ctx: &Ctx) -> Result<(), Status> {
        let before = std::mem::take(&mut self.quotas);
        for (quota, usage) in before {
            let found = ctx.registry.find(lookup::RESOURCE_QUOTAS, &self.namespace, quota.name()).await?;
            self.quotas.extend(found.map(|fresh| (fresh, usage)));
        }
        Ok(())
    }

    fn refuse(&self, why: &str) -> Status {
        let (group, resource, name) = &self.at;
        Status::forbidden(group, resource, name, why)
    }
}

/// Stores a new object and, at the same moment, what it uses.
pub(crate) async fn insert(ctx: &Ctx, kind: &Kind, object: Object, charge: Option<Charge>) -> Result<Object, Status> {
    let Some(mut charge) = charge else { return ctx.registry.insert(kind, object).await };
    for _ in 0..TRIES {
        let writes = charge.writes(ctx)?;
        if let Some(stored) = ctx.registry.insert_beside(kind, object.clone(), &writes).await? {
            return Ok(stored);
        }
        charge.look_again(ctx).await?;
    }
    Err(Status::conflict("", "resourcequotas", "", "the quota is written by many at once; try again"))
}
