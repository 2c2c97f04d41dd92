//! Forgetting a pod that has ended: its containers and sandboxes, logs, volumes, and at last its object.

use super::Job;
use crate::identity::PodId;
use crate::translate::sandbox::log_directory;
use crate::volumes;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

/// Everything but the object comes first: whoever sees the object gone may count on nothing being left.
pub async fn remove(job: &Job, delete_object: bool) -> Result<(), String> {
    for c in &job.rt.containers {
        job.node.runtime.remove(&c.id).await.map_err(|e| e.to_string())?;
    }
    for s in &job.rt.sandboxes {
        job.node.runtime.stop_sandbox(&s.id).await.map_err(|e| e.to_string())?;
        job.node.runtime.remove_sandbox(&s.id).await.map_err(|e| e.to_string())?;
    }
    unmount(job)?;
    let logs = log_directory(&job.node.config.logs(), &PodId::of(&job.pod));
    match std::fs::remove_dir_all(&logs) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(format!("removing {}: {e}", logs.display())),
        Ok(()) | Err(_) => {}
    }
    if delete_object { object(job).await } else { Ok(()) }
}

pub fn unmount(job: &Job) -> Result<(), String> {
    let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
    volumes::unmount(&job.node, uid).map_err(|e| e.to_string())
}

async fn object(job: &Job) -> Result<(), String> {
    let id = PodId::of(&job.pod);
    let api: Api<Pod> = Api::namespaced(job.node.client.clone(), &id.namespace);
    let preconditions = Preconditions { uid: Some(id.uid.clone()), ..Preconditions::default() };
    let params =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&id.name, &params).await {
        Ok(_) => Ok(()),
        // Gone already, or another pod has the name by now.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(e) => Err(format!("deleting the pod's object: {e}")),
    }
}
