//! Every namespace has a ServiceAccount named "default".

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const NAME: &str = "default";

pub(crate) struct DefaultServiceAccount;

impl Controller for DefaultServiceAccount {
    fn name(&self) -> &'static str {
        "service-account-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Namespace>();
        watches.selected::<ServiceAccount>("metadata.name=default", |_, change| {
            match change.key.name == NAME && change.after.is_none() {
                true => vec![Key::new("", &change.key.namespace)],
                false => vec![],
            }
        });
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        if crate::is_active_namespace(view, &key.name) && view.of::<ServiceAccount>().get(&key.name, NAME).is_none() {
            plan.create(&ServiceAccount {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    namespace: Some(key.name.clone()),
                    ..ObjectMeta::default()
                },
                ..ServiceAccount::default()
            });
        }
        plan.into()
    }
}
