//! Every built-in kind. Adding one is a constant in a file here and a line in [`ALL`].

mod admission;
mod autoscalers;
mod certificates;
mod config;
mod devices;
mod disruption;
mod endpoint_slices;
mod events;
mod extensions;
mod fill;
mod flows;
mod gates;
mod jobs;
mod leases;
mod limits;
mod namespaces;
mod networking;
mod nodes;
pub mod order;
mod pod_spec;
mod pods;
mod priorities;
mod rbac;
mod replication_controllers;
mod reviews;
mod rules;
mod runtime_classes;
mod service_accounts;
mod services;
mod shape;
mod storage;
mod volume_sources;
mod volumes;
mod workloads;

use crate::kind::Kind;
pub use events::EVENT_NAMES;
pub use rules::{name_warning, service_addresses};

/// In the order in which discovery lists them.
static ALL: &[&Kind] = &[
    &pods::BINDING,
    &nodes::COMPONENT_STATUS,
    &config::CONFIG_MAP,
    &services::ENDPOINTS,
    &events::EVENT,
    &limits::LIMIT_RANGE,
    &namespaces::NAMESPACE,
    &nodes::NODE,
    &volumes::PERSISTENT_VOLUME_CLAIM,
    &volumes::PERSISTENT_VOLUME,
    &pods::POD,
    &pods::POD_TEMPLATE,
    &replication_controllers::REPLICATION_CONTROLLER,
    &limits::RESOURCE_QUOTA,
    &config::SECRET,
    &service_accounts::SERVICE_ACCOUNT,
    &services::SERVICE,
    &admission::MUTATING_ADMISSION_POLICY,
    &admission::MUTATING_ADMISSION_POLICY_BINDING,
    &admission::MUTATING_WEBHOOK_CONFIGURATION,
    &admission::VALIDATING_ADMISSION_POLICY,
    &admission::VALIDATING_ADMISSION_POLICY_BINDING,
    &admission::VALIDATING_WEBHOOK_CONFIGURATION,
    &extensions::CUSTOM_RESOURCE_DEFINITION,
    &extensions::API_SERVICE,
    &workloads::CONTROLLER_REVISION,
    &workloads::DAEMON_SET,
    &workloads::DEPLOYMENT,
    &workloads::REPLICA_SET,
    &workloads::STATEFUL_SET,
    &reviews::SELF_SUBJECT_REVIEW,
    &reviews::TOKEN_REVIEW,
    &reviews::LOCAL_SUBJECT_ACCESS_REVIEW,
    &reviews::SELF_SUBJECT_ACCESS_REVIEW,
    &reviews::SELF_SUBJECT_RULES_REVIEW,
    &reviews::SUBJECT_ACCESS_REVIEW,
    &autoscalers::HORIZONTAL_POD_AUTOSCALER,
    &autoscalers::HORIZONTAL_POD_AUTOSCALER_V2,
    &jobs::CRON_JOB,
    &jobs::JOB,
    &certificates::CERTIFICATE_SIGNING_REQUEST,
    &leases::LEASE,
    &endpoint_slices::ENDPOINT_SLICE,
    &events::EVENT_V1,
    &flows::FLOW_SCHEMA,
    &flows::PRIORITY_LEVEL_CONFIGURATION,
    &networking::INGRESS_CLASS,
    &networking::INGRESS,
    &networking::IP_ADDRESS,
    &networking::NETWORK_POLICY,
    &networking::SERVICE_CIDR,
    &runtime_classes::RUNTIME_CLASS,
    &disruption::POD_DISRUPTION_BUDGET,
    &rbac::CLUSTER_ROLE_BINDING,
    &rbac::CLUSTER_ROLE,
    &rbac::ROLE_BINDING,
    &rbac::ROLE,
    &devices::DEVICE_CLASS,
    &devices::RESOURCE_CLAIM,
    &devices::RESOURCE_CLAIM_TEMPLATE,
    &devices::RESOURCE_SLICE,
    &priorities::PRIORITY_CLASS,
    &storage::CSI_DRIVER,
    &storage::CSI_NODE,
    &storage::CSI_STORAGE_CAPACITY,
    &storage::STORAGE_CLASS,
    &storage::VOLUME_ATTACHMENT,
    &storage::VOLUME_ATTRIBUTES_CLASS,
];

/// Every built-in kind, in discovery's order.
pub fn all() -> &'static [&'static Kind] {
    ALL
}

/// A built-in kind by the place its objects are served at.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.names.plural == plural && k.names.group == group && k.names.version == version)
}

/// A built-in kind by the type its objects name.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.names.kind == kind && k.names.group == group && k.names.version == version)
}

pub(crate) use rules::{custom_metadata, embedded_metadata};

macro_rules! texts {
    [$($text:literal),*] => { Cow::Borrowed(const { &[$(Cow::Borrowed($text)),*] }) };
}

macro_rules! names {
    ($group:literal, $version:literal, $kind:literal, $plural:literal, $singular:literal,
     [$($short:literal),*], [$($category:literal),*]) => {
        $crate::kind::Names {
            group: Cow::Borrowed($group),
            version: Cow::Borrowed($version),
            kind: Cow::Borrowed($kind),
            plural: Cow::Borrowed($plural),
            singular: Cow::Borrowed($singular),
            short: Cow::Borrowed(const { &[$(Cow::Borrowed($short)),*] }),
            categories: Cow::Borrowed(const { &[$(Cow::Borrowed($category)),*] }),
        }
    };
}

macro_rules! subresources {
    [$(($name:literal, $group:literal, $version:literal, $kind:literal, [$($verb:literal),*])),* $(,)?] => {
        Cow::Borrowed(const { &[$($crate::kind::Subresource {
            name: Cow::Borrowed($name),
            group: Cow::Borrowed($group),
            version: Cow::Borrowed($version),
            kind: Cow::Borrowed($kind),
            verbs: Cow::Borrowed(const { &[$(Cow::Borrowed($verb)),*] }),
        }),*] })
    };
}

macro_rules! columns {
    [$(($name:literal, $kind:literal, $format:literal, $priority:literal)),* $(,)?] => {
        Cow::Borrowed(const { &[$($crate::kind::Column {
            name: Cow::Borrowed($name),
            kind: Cow::Borrowed($kind),
            format: Cow::Borrowed($format),
            priority: $priority,
            description: Cow::Borrowed(""),
        }),*] })
    };
}

use {columns, names, subresources, texts};
