//! The cluster as scheduling decisions see it: nodes, what runs on each, and what is known across them.
//!
//! One task owns it and changes it in place, so there is nothing to copy before a decision: a change costs what it touches.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node};

use crate::budget::Budgets;
use crate::index::{Chosen, Counts, Group, Index};
use crate::node::{Facts, NodeInfo};
use crate::order::Order;
use crate::owners::Owners;
use crate::pod::PodInfo;
use crate::selectors::Labels;
use crate::topology::Division;

#[derive(Debug, Default)]
pub struct Snapshot {
    /// A slot whose node is none and that has no pods is free.
    slots: Vec<NodeInfo>,
    by_name: HashMap<String, usize>,
    free: Vec<usize>,
    /// Labels of namespaces, for terms that choose namespaces by label.
    namespaces: HashMap<String, Labels>,
    /// Pods that wait for room that is being made for them, by uid, with the node.
    nominated: HashMap<String, (Arc<PodInfo>, String)>,
    /// The same by slot: every decision asks about every node it looks at.
    nominees: Vec<Vec<Arc<PodInfo>>>,
    pub budgets: Budgets,
    pub owners: Owners,
    /// How many nodes have an image.
    images: HashMap<String, i64>,
    index: RefCell<Index>,
    order: Order,
}

impl Snapshot {
    /// The nodes that exist.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.slots.iter().filter(|node| node.facts.node.is_some())
    }

    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.by_name.get(name).map(|slot| &self.slots[*slot]).filter(|node| node.facts.node.is_some())
    }

    pub fn slot(&self, slot: usize) -> &NodeInfo {
        &self.slots[slot]
    }

    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The nodes in the order in which they are looked at.
    pub fn order(&self) -> &Order {
        &self.order
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let slot = self.slot_of(node.metadata.name.as_deref().unwrap_or_default());
        self.replace(slot, Facts::of(node));
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Some(slot) = self.by_name.get(name).copied() {
            self.replace(slot, Facts::named(name));
            self.free_if_empty(slot);
        }
    }

    fn replace(&mut self, slot: usize, facts: Facts) {
        let before = std::mem::replace(&mut self.slots[slot].facts, Arc::new(facts));
        let after = self.slots[slot].facts.clone();
        let labels = |facts: &'_ Arc<Facts>| facts.node.is_some().then(|| facts.labels().cloned());
        let (was, is) = (labels(&before), labels(&after));
        if was != is {
            let index = self.index.get_mut();
            index.node(slot, was.as_ref().map(Option::as_ref), is.as_ref().map(Option::as_ref), &self.slots);
            if was.is_some() {
                self.order.remove(slot, &before);
            }
            if is.is_some() {
                self.order.add(slot, &after, &self.slots);
            }
        }
        if before.images != after.images {
            before.images.keys().for_each(|name| self.count_image(name, -1));
            after.images.keys().for_each(|name| self.count_image(name, 1));
        }
    }

    fn count_image(&mut self, name: &str, by: i64) {
        let count = self.images.entry(name.to_owned()).or_default();
        *count += by;
        if *count == 0 {
            self.images.remove(name);
        }
    }

    /// How many nodes have the image.
    pub fn nodes_with_image(&self, name: &str) -> i64 {
        self.images.get(name).copied().unwrap_or(0)
    }

    pub fn set_namespace(&mut self, name: &str, namespace: Option<&Namespace>) {
        let labels = namespace.map(|namespace| namespace.metadata.labels.clone().unwrap_or_default());
        if self.namespaces.get(name) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        self.index.get_mut().namespaces();
    }

    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// Counts a pod on a node.
    pub fn add_pod(&mut self, node: &str, pod: Arc<PodInfo>) {
        let slot = self.slot_of(node);
        self.index.get_mut().pod(slot, &pod, 1, &self.slots);
        self.slots[slot].add(pod);
    }

    /// Takes a counted pod as it is now, if nothing that counts has changed.
    pub fn renew_pod(&mut self, node: &str, pod: &Arc<PodInfo>) -> bool {
        let Some(slot) = self.by_name.get(node).copied() else { return false };
        let Some(known) = self.slots[slot].pods.iter_mut().find(|known| known.uid() == pod.uid()) else { return false };
        let same = known.requests == pod.requests
            && known.likely == pod.likely
            && known.labels() == pod.labels()
            && known.is_leaving() == pod.is_leaving()
            && known.priority == pod.priority;
        if same {
            *known = pod.clone();
        }
        same
    }

    /// Ends counting the pod of this uid, and answers what was counted.
    pub fn remove_pod(&mut self, node: &str, uid: &str) -> Option<Arc<PodInfo>> {
        let slot = self.by_name.get(node).copied()?;
        let pod = self.slots[slot].remove(uid);
        if let Some(pod) = &pod {
            self.index.get_mut().pod(slot, pod, -1, &self.slots);
        }
        self.free_if_empty(slot);
        pod
    }

    pub fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.end_nomination(pod.uid());
        if let Some(slot) = self.by_name.get(node) {
            self.nominees[*slot].push(pod.clone());
        }
        self.nominated.insert(pod.uid().to_owned(), (pod, node.to_owned()));
    }

    pub fn end_nomination(&mut self, uid: &str) {
        let Some((_, node)) = self.nominated.remove(uid) else { return };
        if let Some(slot) = self.by_name.get(&node) {
            self.nominees[*slot].retain(|pod| pod.uid() != uid);
        }
    }

    pub fn nomination(&self, uid: &str) -> Option<&str> {
        self.nominated.get(uid).map(|(_, node)| node.as_str())
    }

    pub fn has_nominations(&self) -> bool {
        !self.nominated.is_empty()
    }

    /// Pods for which room is being made on the node in the slot.
    pub fn nominees(&self, slot: usize) -> &[Arc<PodInfo>] {
        self.nominees.get(slot).map_or(&[], Vec::as_slice)
    }

    /// The same by the node's name.
    pub fn nominated_to(&self, node: &str) -> &[Arc<PodInfo>] {
        self.by_name.get(node).map_or(&[], |slot| self.nominees(*slot))
    }

    /// What divides the cluster by a label key.
    pub fn division(&self, key: &str) -> Division {
        let mut index = self.index.borrow_mut();
        let key = index.key(key, &self.slots);
        index.topologies.at(key).clone()
    }

    pub fn counts(&self, group: &Group, topology_key: &str) -> Counts {
        let mut index = self.index.borrow_mut();
        let key = index.key(topology_key, &self.slots);
        index.counts(group, key, &self.slots, |name| self.namespaces.get(name))
    }

    pub fn has_terms(&self) -> bool {
        self.index.borrow().has_terms()
    }

    /// Calls with every term of placed pods that chooses the pod, and the domains of its topology key by slot.
    pub fn each_choosing(&self, pod: &PodInfo, mut with: impl FnMut(Chosen, &Division)) {
        let index = self.index.borrow();
        for chosen in index.choosing(pod, |name| self.namespaces.get(name)) {
            let division = index.topologies.at(chosen.key);
            with(chosen, division);
        }
    }

    fn slot_of(&mut self, name: &str) -> usize {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or(self.slots.len());
        let node = NodeInfo { slot, facts: Arc::new(Facts::named(name)), ..NodeInfo::default() };
        if slot == self.slots.len() {
            self.slots.push(node)
        } else {
            self.slots[slot] = node
        }
        self.by_name.insert(name.to_owned(), slot);
        self.nominees.resize(self.slots.len(), vec![]);
        // Room may have been made here before anything was known of the node.
        let here = self.nominated.values().filter(|(_, node)| node == name);
        self.nominees[slot] = here.map(|(pod, _)| pod.clone()).collect();
        slot
    }

    fn free_if_empty(&mut self, slot: usize) {
        let node = &self.slots[slot];
        if node.pods.is_empty() && node.facts.node.is_none() && self.by_name.remove(node.name()).is_some() {
            self.free.push(slot);
            self.nominees[slot].clear();
        }
    }
}
