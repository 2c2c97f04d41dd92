//! Every namespace has a ConfigMap with the authority that pods trust the apiserver by.

use std::collections::BTreeMap;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const NAME: &str = "kube-root-ca.crt";
const ENTRY: &str = "ca.crt";

pub(crate) struct RootCa {
    pub(crate) pem: Option<String>,
}

impl Controller for RootCa {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher"
    }

    fn identity(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Namespace>();
        watches.selected::<ConfigMap>("metadata.name=kube-root-ca.crt", |_, change| match change.key.name == NAME {
            true => vec![Key::new("", &change.key.namespace)],
            false => vec![],
        });
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(pem) = self.pem.as_ref().filter(|_| crate::is_active_namespace(view, &key.name)) else {
            return plan.into();
        };
        let wanted = BTreeMap::from([(ENTRY.to_owned(), pem.clone())]);
        match view.of::<ConfigMap>().get(&key.name, NAME) {
            Some(map) if map.data.as_ref() == Some(&wanted) => {}
            Some(map) => plan.update(&ConfigMap { data: Some(wanted), ..(*map).clone() }),
            None => plan.create(&published(&key.name, wanted)),
        }
        plan.into()
    }
}

fn published(namespace: &str, data: BTreeMap<String, String>) -> ConfigMap {
    let description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
        such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
        Kubernetes clusters.";
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            annotations: Some(BTreeMap::from([("kubernetes.io/description".to_owned(), description.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}
