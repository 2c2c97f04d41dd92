//! By what controllers find objects without looking at all the others: the indexes of the informers, and what is asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Object;
use api::quota::{self, Usage};
use client::{Index, Key, Object as Watched, View};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::core::ApiResource;
use serde::Serialize;

use crate::{pods, selector};

type Labels = BTreeMap<String, String>;
type Filed<'a> = &'a dyn Fn(&str) -> usize;

/// Stands between the parts of a term; no name and no label has it.
const SEP: char = '\0';

fn term(namespace: &str, rest: &str) -> String {
    format!("{namespace}{SEP}{rest}")
}

fn pair(namespace: &str, key: &str, value: &str) -> String {
    format!("{namespace}{SEP}{key}{SEP}{value}")
}

fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

fn pairs(namespace: &str, labels: Option<&Labels>) -> Vec<String> {
    labels.into_iter().flatten().map(|(key, value)| pair(namespace, key, value)).collect()
}

const PODS_BY_LABEL: Index<Pod> =
    Index::of("label", |pod, _| pairs(namespace(&pod.metadata), pod.metadata.labels.as_ref()));

const PODS_BY_NODE: Index<Pod> = Index::of("node", |pod, _| {
    let node = pods::node(pod);
    if node.is_empty() { vec![] } else { vec![node.to_owned()] }
});

const FINISHED_PODS: Index<Pod> =
    Index::of("finished", |pod, _| if pods::is_finished(pod) { vec!["finished".to_owned()] } else { vec![] });

const PODS_BY_JOB: Index<Pod> = Index::of("job", |pod, _| {
    let job = pods::controller_of(pod).filter(|owner| owner.kind == "Job");
    job.map(|job| term(namespace(&pod.metadata), &job.name)).into_iter().collect()
});

/// A Service stands under one pair of its selector: the one that the fewest others stand under.
const SERVICES_BY_PAIR: Index<Service> = Index::of("selector", |service, filed| {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    rarest(pairs(namespace(&service.metadata), selector), filed)
});

/// A budget stands under one pair that it requires, or, if it requires none, under its namespace alone.
const BUDGETS_BY_PAIR: Index<PodDisruptionBudget> = Index::of("selector", |budget, filed| {
    let namespace = namespace(&budget.metadata);
    let Some(selector) = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return vec![] };
    match rarest(required(namespace, selector), filed) {
        none if none.is_empty() => vec![term(namespace, "")],
        one => one,
    }
});

const SLICES_BY_SERVICE: Index<EndpointSlice> = Index::of("service", |slice, _| {
    let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
    service.map(|service| term(namespace(&slice.metadata), service)).into_iter().collect()
});

fn rarest(terms: Vec<String>, filed: Filed<'_>) -> Vec<String> {
    terms.into_iter().min_by_key(|term| filed(term)).into_iter().collect()
}

/// The pairs that whatever a selector chooses must have.
fn required(namespace: &str, selector: &LabelSelector) -> Vec<String> {
    let mut terms = pairs(namespace, selector.match_labels.as_ref());
    for one in selector.match_expressions.iter().flatten().filter(|one| one.operator == "In") {
        if let [value] = one.values.as_deref().unwrap_or_default() {
            terms.push(pair(namespace, &one.key, value));
        }
    }
    terms
}

/// The pods of a namespace that a selector chooses, by name.
pub(crate) fn chosen(view: &View, namespace: &str, by: &LabelSelector) -> Vec<Arc<Pod>> {
    let pods = view.of::<Pod>();
    let rarest = required(namespace, by).into_iter().min_by_key(|term| pods.count_by(&PODS_BY_LABEL, term));
    let mut candidates = match rarest {
        Some(term) => pods.by(&PODS_BY_LABEL, &term),
        None => pods.list_in(namespace),
    };
    candidates.retain(|pod| selector::matches(by, pod.metadata.labels.as_ref()));
    candidates
}

/// The pods of a namespace that have all these labels, by name.
pub(crate) fn chosen_by_map(view: &View, namespace: &str, labels: &Labels) -> Vec<Arc<Pod>> {
    chosen(view, namespace, &LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() })
}

/// The Services whose selector chooses a pod.
pub(crate) fn services_of(view: &View, pod: &Pod) -> Vec<Arc<Service>> {
    let labels = pod.metadata.labels.as_ref();
    let terms = pairs(namespace(&pod.metadata), labels);
    let mut services: Vec<_> = terms.iter().flat_map(|term| view.of::<Service>().by(&SERVICES_BY_PAIR, term)).collect();
    services.retain(|service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| selector::matches_map(selector, labels))
    });
    services
}

/// The budgets whose selector chooses a pod.
pub(crate) fn budgets_of(view: &View, pod: &Pod) -> Vec<Arc<PodDisruptionBudget>> {
    let namespace = namespace(&pod.metadata);
    let labels = pod.metadata.labels.as_ref();
    let terms = pairs(namespace, labels).into_iter().chain([term(namespace, "")]);
    let mut budgets: Vec<_> =
        terms.flat_map(|term| view.of::<PodDisruptionBudget>().by(&BUDGETS_BY_PAIR, &term)).collect();
    budgets.retain(|budget| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| selector::matches(selector, labels))
    });
    budgets
}

/// The slices that say they are of a Service.
pub(crate) fn slices_of(view: &View, service: &Key) -> Vec<Arc<EndpointSlice>> {
    view.of::<EndpointSlice>().by(&SLICES_BY_SERVICE, &term(&service.namespace, &service.name))
}

pub(crate) fn pods_on(view: &View, node: &str) -> Vec<Arc<Pod>> {
    view.of::<Pod>().by(&PODS_BY_NODE, node)
}

/// The pods that a Job of this name controls or controlled.
pub(crate) fn pods_of_job(view: &View, job: &Key) -> Vec<Arc<Pod>> {
    view.of::<Pod>().by(&PODS_BY_JOB, &term(&job.namespace, &job.name))
}

pub(crate) fn finished_pods(view: &View) -> Vec<Arc<Pod>> {
    view.of::<Pod>().by(&FINISHED_PODS, "finished")
}

/// What objects of a kind use, summed up by namespace and by what decides which quotas are about them.
pub(crate) fn usage<K: Watched<DynamicType = ()> + Serialize>() -> Index<K> {
    Index {
        name: "usage",
        terms: |object, _| {
            let resource = ApiResource::erase::<K>(&());
            let value = Object::from_typed(object).unwrap_or_default();
            let class = quota::class(&resource.group, &resource.plural, &value);
            vec![term(namespace(object.meta()), &class)]
        },
        amounts: |object| usage_of(&ApiResource::erase::<K>(&()), object),
    }
}

/// The beginning of the terms of a namespace.
pub(crate) fn within(namespace: &str) -> String {
    term(namespace, "")
}

pub(crate) fn usage_of<K: Serialize>(resource: &ApiResource, object: &K) -> Usage {
    let object = Object::from_typed(object).unwrap_or_default();
    quota::usage(&resource.group, &resource.plural, &object)
}
