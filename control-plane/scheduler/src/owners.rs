//! What makes pods be of a kind without their saying so: the Services that choose them and the controller that made them.

use std::collections::{BTreeMap, HashMap};

use client::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::pod::PodInfo;
use crate::selectors::{Labels, Selector};

#[derive(Debug, Default)]
pub struct Owners {
    /// By namespace and name.
    services: HashMap<String, BTreeMap<String, Labels>>,
    /// Selectors of controllers by kind.
    controllers: HashMap<(&'static str, Key), Selector>,
}

impl Owners {
    pub fn set_service(&mut self, key: &Key, selector: Option<&Labels>) {
        match selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => {
                self.services.entry(key.namespace.clone()).or_default().insert(key.name.clone(), selector.clone());
            }
            None => {
                let Some(known) = self.services.get_mut(&key.namespace) else { return };
                known.remove(&key.name);
                if known.is_empty() {
                    self.services.remove(&key.namespace);
                }
            }
        }
    }

    pub fn set_controller(&mut self, kind: &'static str, key: &Key, selector: Option<&LabelSelector>) {
        match selector {
            Some(selector) => self.controllers.insert((kind, key.clone()), Selector::new(Some(selector))),
            None => self.controllers.remove(&(kind, key.clone())),
        };
    }

    /// What chooses the pods that are of a kind with this one; none if nothing does.
    pub fn selector_of(&self, pod: &PodInfo) -> Option<Selector> {
        let services = self.services.get(pod.namespace()).into_iter().flat_map(BTreeMap::values);
        let has = |labels: &Labels| Selector::equal(labels.iter()).matches(pod.labels());
        let labels: Labels =
            services.filter(|labels| has(labels)).flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut selector = Selector::equal(labels.iter());
        let owners = pod.pod.metadata.owner_references.iter().flatten();
        if let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) {
            let kind = ["ReplicaSet", "StatefulSet", "ReplicationController"].into_iter().find(|k| *k == owner.kind);
            let known = kind.and_then(|kind| self.controllers.get(&(kind, Key::new(pod.namespace(), &owner.name))));
            known.into_iter().for_each(|known| selector.and(known));
        }
        (!selector.is_empty()).then_some(selector)
    }
}
