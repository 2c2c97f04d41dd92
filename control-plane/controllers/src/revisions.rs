//! The history of a template as ControllerRevisions, for the workloads whose pods carry the name of their revision.

use std::sync::Arc;

use client::{Plan, View};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use crate::claim::{self, Claims};
use crate::pods;

/// Names tried for a new revision.
const SALTS: usize = 64;
pub(crate) const HASH: &str = "controller-revision-hash";

/// The revisions of a workload, and the name of the one that its template is now.
pub(crate) struct Revisions {
    pub current: String,
    all: Vec<Arc<ControllerRevision>>,
}

impl Revisions {
    /// Finds the revision of the template; plans it where there is none, or gives it the newest number.
    pub(crate) fn of<K: Claims<ControllerRevision>>(
        view: &View,
        owner: &K,
        template: &PodTemplateSpec,
        plan: &mut Plan,
    ) -> Revisions {
        let mut all = claim::claim::<ControllerRevision, K>(view, owner, plan);
        all.sort_by_key(|revision| (revision.revision, revision.metadata.name.clone()));
        let data = data(template);
        let newest = all.last().map_or(0, |revision| revision.revision);
        let known = all.iter().find(|revision| revision.data.as_ref().is_some_and(|known| known.0 == data));
        if let Some(known) = known {
            if known.revision < newest {
                plan.patch(known.as_ref(), None, json!({"revision": newest + 1}));
            }
            return Revisions { current: hash_of(known), all };
        }
        let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
        let name = |hash: &str| format!("{}-{hash}", owner.meta().name.as_deref().unwrap_or_default());
        let is_free = |hash: &String| view.of::<ControllerRevision>().get(namespace, &name(hash)).is_none();
        // Names are short: another template's may be the same, or one of an owner that is gone.
        let salts = all.len()..all.len() + SALTS;
        let Some(hash) = salts.map(|salt| hash(&data, salt)).find(is_free) else {
            return Revisions { current: String::new(), all };
        };
        let name = name(&hash);
        let mut labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(HASH.to_owned(), hash.clone());
        plan.create(&ControllerRevision {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: owner.meta().namespace.clone(),
                labels: Some(labels),
                annotations: owner.meta().annotations.clone().map(|mut annotations| {
                    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
                    annotations
                }),
                owner_references: Some(vec![pods::owner(owner)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data)),
            revision: newest + 1,
        });
        Revisions { current: hash, all }
    }

    /// The template of a revision that is still remembered.
    pub(crate) fn template(&self, hash: &str) -> Option<PodTemplateSpec> {
        let revision = self.all.iter().find(|revision| hash_of(revision) == hash)?;
        let mut template = revision.data.as_ref()?.0["spec"]["template"].clone();
        template.as_object_mut()?.remove("$patch");
        serde_json::from_value(template).ok()
    }

    /// Forgets the oldest revisions that no pod has.
    pub(crate) fn trim(&self, used: impl Fn(&str) -> bool, limit: Option<i32>, plan: &mut Plan) {
        let unused = |r: &&Arc<ControllerRevision>| hash_of(r) != self.current && !used(&hash_of(r));
        let unused: Vec<_> = self.all.iter().filter(unused).collect();
        let kept = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
        let surplus = unused.len().saturating_sub(kept);
        unused.into_iter().take(surplus).for_each(|revision| plan.delete(revision.as_ref()));
    }
}

fn data(template: &PodTemplateSpec) -> Value {
    let mut template = json!(template);
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

fn hash_of(revision: &ControllerRevision) -> String {
    revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)).cloned().unwrap_or_default()
}

fn hash(data: &Value, salt: usize) -> String {
    let text = format!("{data}{salt}");
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}
