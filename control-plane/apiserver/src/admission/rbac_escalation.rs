//! Nobody writes a role that holds more than they have, or binds one, without the verb `escalate` or `bind`.
//!
//! Upstream has this in its storage of roles; it is no admission plugin there, and cannot be turned off here either.

use super::{Admission, Operation};
use crate::authz::{self, escalation, rbac};
use crate::ctx::Ctx;
use crate::lookup;
use crate::request::RequestInfo;
use api::Status;

pub(super) async fn check(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    let writes = |at| admission.writes(at, "", &[Operation::Create, Operation::Update]);
    let Some(object) = &admission.object else { return Ok(()) };
    let masters = admission.user.groups.iter().any(|g| g == "system:masters");
    if masters {
        return Ok(());
    }
    if writes(lookup::ROLES) || writes(lookup::CLUSTER_ROLES) {
        let unchanged = admission
            .old
            .is_some_and(|old| ["rules", "aggregationRule"].iter().all(|key| old.at(&[key]) == object.at(&[key])));
        if unchanged || allowed(ctx, admission, "escalate", &admission.info.resource, &admission.info.name).await? {
            return Ok(());
        }
        let mut wanted = rbac::rules_of(object);
        if object.at(&["aggregationRule"]).is_some() {
            let any = |words: &str| vec![words.to_owned()];
            wanted.push(rbac::Rule { verbs: any("*"), groups: any("*"), resources: any("*"), ..rbac::Rule::default() });
            wanted.push(rbac::Rule { verbs: any("*"), urls: any("*"), ..rbac::Rule::default() });
        }
        return covered(ctx, admission, &wanted).await;
    }
    if writes(lookup::ROLE_BINDINGS) || writes(lookup::CLUSTER_ROLE_BINDINGS) {
        let unchanged = admission
            .old
            .is_some_and(|old| ["roleRef", "subjects"].iter().all(|key| old.at(&[key]) == object.at(&[key])));
        let (kind, role) = (object.str_at(&["roleRef", "kind"]), object.str_at(&["roleRef", "name"]));
        let resource = if kind == "Role" { "roles" } else { "clusterroles" };
        if unchanged || allowed(ctx, admission, "bind", resource, role).await? {
            return Ok(());
        }
        let namespace = if kind == "Role" { admission.info.namespace.as_str() } else { "" };
        return match authz::role_rules(ctx, namespace, role).await? {
            Some(rules) => covered(ctx, admission, &rules).await,
            None => Err(Status::not_found(&admission.info.group, &admission.info.resource, role)),
        };
    }
    Ok(())
}

async fn allowed(ctx: &Ctx, admission: &Admission<'_>, verb: &str, resource: &str, name: &str) -> Result<bool, Status> {
    let info = admission.info;
    let request = RequestInfo {
        is_resource: true,
        verb: verb.to_owned(),
        group: info.group.clone(),
        version: info.version.clone(),
        namespace: info.namespace.clone(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..RequestInfo::default()
    };
    Ok(authz::decide(ctx, admission.user, &request).await?.allowed)
}

async fn covered(ctx: &Ctx, admission: &Admission<'_>, wanted: &[rbac::Rule]) -> Result<(), Status> {
    let user = admission.user;
    let owned = authz::rules_for(ctx, user, &admission.info.namespace).await?;
    let missing = escalation::uncovered(&owned, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut shown: Vec<String> = missing.iter().map(escalation::shown).collect();
    shown.sort();
    let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
    Err(admission.forbid(&format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        shown.join("\n")
    )))
}
