//! What the cluster holds besides pods and nodes that decisions go by.

use client::{Change, Changes, Informers, Key};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, ReplicationController, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::snapshot::Snapshot;

/// What else the cluster holds that decisions go by.
pub(super) struct Surroundings {
    namespaces: Changes<Namespace>,
    budgets: Changes<PodDisruptionBudget>,
    services: Changes<Service>,
    replica_sets: Changes<ReplicaSet>,
    stateful_sets: Changes<StatefulSet>,
    replication_controllers: Changes<ReplicationController>,
}

impl Surroundings {
    pub(super) async fn of(informers: &Informers) -> Surroundings {
        async fn changes<K: client::Object<DynamicType = ()>>(informers: &Informers) -> Changes<K> {
            let informer = informers.of::<K>();
            informer.synced().await;
            informer.changes()
        }
        Surroundings {
            namespaces: changes(informers).await,
            budgets: changes(informers).await,
            services: changes(informers).await,
            replica_sets: changes(informers).await,
            stateful_sets: changes(informers).await,
            replication_controllers: changes(informers).await,
        }
    }

    /// Takes the next change into the snapshot; none when the informers have stopped.
    pub(super) async fn next(&mut self) -> Option<Surrounding> {
        Some(tokio::select! {
            Some(change) = self.namespaces.next() => Surrounding::Namespace(change),
            Some(change) = self.budgets.next() => Surrounding::Budget(change),
            Some(change) = self.services.next() => Surrounding::Service(change),
            Some(change) = self.replica_sets.next() => Surrounding::controller("ReplicaSet", change, |set| {
                set.spec.as_ref().map(|spec| spec.selector.clone())
            }),
            Some(change) = self.stateful_sets.next() => Surrounding::controller("StatefulSet", change, |set| {
                set.spec.as_ref().map(|spec| spec.selector.clone())
            }),
            Some(change) = self.replication_controllers.next() => {
                Surrounding::controller("ReplicationController", change, |set| {
                    let match_labels = set.spec.as_ref().and_then(|spec| spec.selector.clone());
                    Some(LabelSelector { match_labels, ..LabelSelector::default() })
                })
            }
            else => return None,
        })
    }
}

pub(super) enum Surrounding {
    Namespace(Change<Namespace>),
    Budget(Change<PodDisruptionBudget>),
    Service(Change<Service>),
    Controller(&'static str, Key, Option<LabelSelector>),
}

impl Surrounding {
    fn controller<K>(kind: &'static str, change: Change<K>, of: fn(&K) -> Option<LabelSelector>) -> Surrounding {
        Surrounding::Controller(kind, change.key, change.after.as_deref().and_then(of))
    }

    pub(super) fn into(self, snapshot: &mut Snapshot) {
        match self {
            Surrounding::Namespace(change) => snapshot.set_namespace(&change.key.name, change.after.as_deref()),
            Surrounding::Budget(change) => snapshot.budgets.set(&change.key, change.after.as_deref()),
            Surrounding::Service(change) => {
                let selector = change.after.as_ref().and_then(|s| s.spec.as_ref()).and_then(|s| s.selector.as_ref());
                snapshot.owners.set_service(&change.key, selector);
            }
            Surrounding::Controller(kind, key, selector) => {
                snapshot.owners.set_controller(kind, &key, selector.as_ref())
            }
        }
    }
}
