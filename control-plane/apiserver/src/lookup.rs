//! The kinds that this server's own stages read and write, by name.

use crate::Registry;
use api::{Kind, Object, Status};
use std::sync::Arc;

/// A resource that is always served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
}

const fn core(plural: &'static str) -> Resource {
    Resource { group: "", version: "v1", plural }
}

const fn rbac(plural: &'static str) -> Resource {
    Resource { group: "rbac.authorization.k8s.io", version: "v1", plural }
}

pub(crate) const CONFIG_MAPS: Resource = core("configmaps");
pub(crate) const ENDPOINTS: Resource = core("endpoints");
pub(crate) const LIMIT_RANGES: Resource = core("limitranges");
pub(crate) const NAMESPACES: Resource = core("namespaces");
pub(crate) const NODES: Resource = core("nodes");
pub(crate) const PERSISTENT_VOLUMES: Resource = core("persistentvolumes");
pub(crate) const PERSISTENT_VOLUME_CLAIMS: Resource = core("persistentvolumeclaims");
pub(crate) const VOLUME_ATTRIBUTES_CLASSES: Resource =
    Resource { group: "storage.k8s.io", version: "v1", plural: "volumeattributesclasses" };
pub(crate) const PODS: Resource = core("pods");
pub(crate) const REPLICATION_CONTROLLERS: Resource = core("replicationcontrollers");
pub(crate) const RESOURCE_QUOTAS: Resource = core("resourcequotas");
pub(crate) const SECRETS: Resource = core("secrets");
pub(crate) const SERVICES: Resource = core("services");
pub(crate) const SERVICE_ACCOUNTS: Resource = core("serviceaccounts");
pub(crate) const ROLES: Resource = rbac("roles");
pub(crate) const ROLE_BINDINGS: Resource = rbac("rolebindings");
pub(crate) const CLUSTER_ROLES: Resource = rbac("clusterroles");
pub(crate) const CLUSTER_ROLE_BINDINGS: Resource = rbac("clusterrolebindings");
pub(crate) const ENDPOINT_SLICES: Resource =
    Resource { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };
pub(crate) const FLOW_SCHEMAS: Resource =
    Resource { group: "flowcontrol.apiserver.k8s.io", version: "v1", plural: "flowschemas" };
pub(crate) const PRIORITY_LEVELS: Resource =
    Resource { group: "flowcontrol.apiserver.k8s.io", version: "v1", plural: "prioritylevelconfigurations" };
pub(crate) const PRIORITY_CLASSES: Resource =
    Resource { group: "scheduling.k8s.io", version: "v1", plural: "priorityclasses" };
pub(crate) const RUNTIME_CLASSES: Resource = Resource { group: "node.k8s.io", version: "v1", plural: "runtimeclasses" };
pub(crate) const STORAGE_CLASSES: Resource =
    Resource { group: "storage.k8s.io", version: "v1", plural: "storageclasses" };
pub(crate) const INGRESS_CLASSES: Resource =
    Resource { group: "networking.k8s.io", version: "v1", plural: "ingressclasses" };
pub(crate) const IP_ADDRESSES: Resource = Resource { group: "networking.k8s.io", version: "v1", plural: "ipaddresses" };
pub(crate) const SERVICE_CIDRS: Resource =
    Resource { group: "networking.k8s.io", version: "v1", plural: "servicecidrs" };
pub(crate) const DEFINITIONS: Resource =
    Resource { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" };
pub(crate) const API_SERVICES: Resource =
    Resource { group: "apiregistration.k8s.io", version: "v1", plural: "apiservices" };
pub(crate) const POD_DISRUPTION_BUDGETS: Resource =
    Resource { group: "policy", version: "v1", plural: "poddisruptionbudgets" };

impl Resource {
    /// Whether a kind is this resource, in whatever version.
    pub(crate) fn is(self, kind: &Kind) -> bool {
        kind.names.group == self.group && kind.names.plural == self.plural
    }
}

impl Registry {
    pub(crate) fn known(&self, at: Resource) -> Result<Arc<Kind>, Status> {
        let kind = self.kind(at.group, at.version, at.plural);
        kind.ok_or_else(|| Status::internal(format!("{} are not served", at.plural)))
    }

    /// One object; 404 where it is not there.
    pub(crate) async fn fetch(&self, at: Resource, namespace: &str, name: &str) -> Result<Object, Status> {
        self.get(&*self.known(at)?, namespace, name).await
    }

    /// One object, `None` where it is not there.
    pub(crate) async fn find(&self, at: Resource, namespace: &str, name: &str) -> Result<Option<Object>, Status> {
        match self.fetch(at, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(status) if status.code == 404 => Ok(None),
            Err(status) => Err(status),
        }
    }

    pub(crate) async fn all(&self, at: Resource, namespace: Option<&str>) -> Result<Vec<Object>, Status> {
        self.list(&*self.known(at)?, namespace).await
    }

    pub(crate) async fn revision_of(&self, at: Resource) -> Result<u64, Status> {
        self.changed(&*self.known(at)?).await
    }
}
