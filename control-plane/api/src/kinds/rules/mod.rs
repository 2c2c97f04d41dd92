//! What objects must look like beyond their types: one function per kind for the object, one for its updates.
//!
//! Refuses to know other objects: what must exist or fit elsewhere is for admission.

mod addresses;
mod admission;
mod annotations;
mod at;
mod autoscaling;
mod certificates;
mod claims;
mod cluster;
mod conditions;
mod config;
mod containers;
mod definitions;
mod device_claims;
mod devices;
mod endpoints;
mod environment;
mod events;
mod inner;
mod jobs;
mod lines;
mod metadata;
mod networking;
mod nodes;
mod openapi;
mod placement;
mod pod_changes;
mod pod_resize;
mod pod_status;
mod pod_warnings;
mod pods;
mod probes;
mod projections;
mod resources;
mod security;
mod selectors;
mod services;
mod simple;
mod slices;
mod storage;
mod structure;
mod volume_sources;
mod volumes;
mod warnings;
mod windows;
mod words;
mod workloads;

pub use addresses::service_addresses;
pub(super) use admission::{
    mutating_policy, mutation_binding, policy_binding, policy_update, validating_policy, webhooks,
};
pub(super) use autoscaling::{autoscaler, autoscaler_update, autoscaler_v1};
pub(super) use certificates::{certificate_request, certificate_update};
pub(super) use claims::{claim, claim_update, volume, volume_update};
pub(super) use cluster::{api_service, api_service_update, flow_schema, flow_update, priority_level};
pub(super) use config::{
    config_map, config_map_update, metadata_update, named, namespace, namespace_update, secret, secret_update,
};
pub(super) use definitions::{definition, definition_update, definition_warnings};
pub(super) use device_claims::{claim_template, claim_template_update, resource_claim, resource_claim_update};
pub(super) use devices::device_class;
pub(super) use endpoints::{endpoint_slice, endpoint_slice_update, endpoints, endpoints_update};
pub(super) use events::{event, event_update};
pub(super) use jobs::{cron_job, cron_job_update, job, job_update};
pub(crate) use metadata::{custom_metadata, embedded_metadata};
pub(super) use networking::{
    ingress, ingress_class, ingress_class_update, ingress_update, ingress_warnings, ip_address, ip_address_update,
    network_policy, service_cidr, service_cidr_update,
};
pub(super) use nodes::{node, node_update};
pub(super) use pod_changes::pod_update;
pub(super) use pods::{pod, pod_template};
pub(super) use services::{service, service_update};
pub(super) use simple::{
    binding_update, cluster_role, cluster_role_binding, disruption_budget, disruption_update, lease, priority_class,
    priority_class_update, role, role_binding, runtime_class, runtime_class_update,
};
pub(super) use slices::{slice, slice_update};
pub(super) use storage::{
    attributes_class, attributes_class_update, csi_capacity, csi_capacity_update, csi_driver, csi_driver_update,
    csi_node, csi_node_update, limit_range, resource_quota, resource_quota_update, storage_class, storage_class_update,
    volume_attachment, volume_attachment_update,
};
pub use warnings::name_warning;
pub(super) use warnings::{
    claim_warnings, cron_job_warnings, csi_driver_warnings, endpoint_slice_warnings, node_warnings,
    pod_template_warnings, pod_warnings, secret_warnings, service_warnings, stateful_set_warnings, template_warnings,
    volume_warnings,
};
pub(super) use workloads::{
    controller_revision, controller_revision_update, controller_update, daemon_set, daemon_set_update, deployment,
    deployment_update, replica_set, replica_set_update, replication_controller, stateful_set, stateful_set_update,
};
