//! The containers of a pod in one list, each with the part it plays.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use std::borrow::Cow;

/// What part a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that stays (`restartPolicy: Always`).
    Sidecar,
    Main,
    /// Added to a running pod; never started twice.
    Ephemeral,
}

#[derive(Debug, Clone)]
pub struct Unit<'a> {
    pub role: Role,
    pub spec: Cow<'a, Container>,
    /// The container whose process namespace an ephemeral one joins.
    pub target: Option<&'a str>,
}

impl Unit<'_> {
    pub fn name(&self) -> &str {
        &self.spec.name
    }
}

pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// In the order they start: init containers and sidecars, main ones, ephemeral ones.
pub fn units(pod: &Pod) -> Vec<Unit<'_>> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut list: Vec<Unit<'_>> = init(spec).collect();
    list.extend(spec.containers.iter().map(|c| Unit { role: Role::Main, spec: Cow::Borrowed(c), target: None }));
    for e in spec.ephemeral_containers.iter().flatten() {
        if let Some(c) = ephemeral(e) {
            list.push(Unit {
                role: Role::Ephemeral,
                spec: Cow::Owned(c),
                target: e.target_container_name.as_deref().filter(|t| !t.is_empty()),
            });
        }
    }
    list
}

fn init(spec: &PodSpec) -> impl Iterator<Item = Unit<'_>> {
    spec.init_containers.iter().flatten().map(|c| Unit {
        role: if is_sidecar(c) { Role::Sidecar } else { Role::Init },
        spec: Cow::Borrowed(c),
        target: None,
    })
}

/// The two types have the same fields but for `targetContainerName`; the API keeps them so.
fn ephemeral(e: &k8s_openapi::api::core::v1::EphemeralContainer) -> Option<Container> {
    serde_json::to_value(e).ok().and_then(|v| serde_json::from_value(v).ok())
}

pub fn find<'a>(pod: &'a Pod, name: &str) -> Option<Unit<'a>> {
    units(pod).into_iter().find(|u| u.name() == name)
}

pub fn spec(pod: &Pod) -> Cow<'_, PodSpec> {
    match &pod.spec {
        Some(spec) => Cow::Borrowed(spec),
        None => Cow::Owned(PodSpec::default()),
    }
}
