//! Collects what Kubernetes says about its types and fields into one compressed list, for `/openapi/v3`. A line holds
//! a type's full name, a field (nothing for the type itself) and its text, separated by tabs.

use k8s_openapi::api;
use k8s_openapi::schemars::SchemaGenerator;
use std::io::Write;
use std::path::Path;

macro_rules! describe {
    ($generator:expr, $($ty:ty),+ $(,)?) => { $( drop($generator.subschema_for::<$ty>()); )+ };
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut generator = SchemaGenerator::default();
    kinds(&mut generator);
    let mut lines = Vec::new();
    for (name, schema) in generator.definitions() {
        let mut line = |field: &str, of: &serde_json::Value| {
            if let Some(text) = of["description"].as_str() {
                let text = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', " ");
                lines.push(format!("{name}\t{field}\t{text}\n"));
            }
        };
        line("", schema);
        for (field, of) in schema["properties"].as_object().into_iter().flatten() {
            line(field, of);
        }
    }
    lines.sort();
    let out = std::env::var_os("OUT_DIR").expect("cargo names the directory");
    let file = std::fs::File::create(Path::new(&out).join("descriptions.z")).expect("the directory can be written");
    let mut packed = flate2::write::ZlibEncoder::new(file, flate2::Compression::best());
    packed.write_all(lines.concat().as_bytes()).expect("the file can be written");
    packed.finish().expect("the file can be written");
}

/// Every kind of the API, and what is answered besides; what they consist of follows.
fn kinds(generator: &mut SchemaGenerator) {
    use api::admissionregistration::v1 as admission;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
    describe!(
        generator,
        api::core::v1::Binding,
        api::core::v1::ComponentStatus,
        api::core::v1::ConfigMap,
        api::core::v1::Endpoints,
        api::core::v1::Event,
        api::core::v1::LimitRange,
        api::core::v1::Namespace,
        api::core::v1::Node,
        api::core::v1::PersistentVolume,
        api::core::v1::PersistentVolumeClaim,
        api::core::v1::Pod,
        api::core::v1::PodTemplate,
        api::core::v1::ReplicationController,
        api::core::v1::ResourceQuota,
        api::core::v1::Secret,
        api::core::v1::Service,
        api::core::v1::ServiceAccount,
        admission::MutatingAdmissionPolicy,
        admission::MutatingAdmissionPolicyBinding,
        admission::MutatingWebhookConfiguration,
        admission::ValidatingAdmissionPolicy,
        admission::ValidatingAdmissionPolicyBinding,
        admission::ValidatingWebhookConfiguration,
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService,
        api::apps::v1::ControllerRevision,
        api::apps::v1::DaemonSet,
        api::apps::v1::Deployment,
        api::apps::v1::ReplicaSet,
        api::apps::v1::StatefulSet,
        api::authentication::v1::SelfSubjectReview,
        api::authentication::v1::TokenRequest,
        api::authentication::v1::TokenReview,
        api::authorization::v1::LocalSubjectAccessReview,
        api::authorization::v1::SelfSubjectAccessReview,
        api::authorization::v1::SelfSubjectRulesReview,
        api::authorization::v1::SubjectAccessReview,
        api::autoscaling::v1::HorizontalPodAutoscaler,
        api::autoscaling::v1::Scale,
        api::autoscaling::v2::HorizontalPodAutoscaler,
        api::batch::v1::CronJob,
        api::batch::v1::Job,
        api::certificates::v1::CertificateSigningRequest,
        api::coordination::v1::Lease,
        api::discovery::v1::EndpointSlice,
        api::events::v1::Event,
        api::flowcontrol::v1::FlowSchema,
        api::flowcontrol::v1::PriorityLevelConfiguration,
        api::networking::v1::IPAddress,
        api::networking::v1::Ingress,
        api::networking::v1::IngressClass,
        api::networking::v1::NetworkPolicy,
        api::networking::v1::ServiceCIDR,
        api::node::v1::RuntimeClass,
        api::policy::v1::Eviction,
        api::policy::v1::PodDisruptionBudget,
        api::rbac::v1::ClusterRole,
        api::rbac::v1::ClusterRoleBinding,
        api::rbac::v1::Role,
        api::rbac::v1::RoleBinding,
        api::resource::v1::DeviceClass,
        api::resource::v1::ResourceClaim,
        api::resource::v1::ResourceClaimTemplate,
        api::resource::v1::ResourceSlice,
        api::scheduling::v1::PriorityClass,
        api::storage::v1::CSIDriver,
        api::storage::v1::CSINode,
        api::storage::v1::CSIStorageCapacity,
        api::storage::v1::StorageClass,
        api::storage::v1::VolumeAttachment,
        api::storage::v1::VolumeAttributesClass,
        meta::APIGroup,
        meta::APIGroupList,
        meta::APIResourceList,
        meta::APIVersions,
        meta::DeleteOptions,
        meta::Patch,
        meta::Status,
        meta::WatchEvent<api::core::v1::Pod>,
        k8s_openapi::apimachinery::pkg::version::Info,
    );
}
