//! The CRI v1 client: one connection over a unix socket, every call with a deadline.

use crate::identity::{self, PodId};
use crate::observed::{self, Container, Sandbox};
use hyper_util::rt::TokioIo;
use rpc::cri::image_service_client::ImageServiceClient;
use rpc::cri::runtime_service_client::RuntimeServiceClient;
use rpc::cri::{self, ContainerFilter, PodSandboxFilter};
use rpc::tonic::transport::{Channel, Endpoint};
use rpc::tonic::{Code, Request, Status};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Upstream's `--runtime-request-timeout`.
const CALL: Duration = Duration::from_secs(120);
/// A large image over a slow line; the pull itself fails earlier where its registry does not answer.
const PULL: Duration = Duration::from_secs(30 * 60);
/// Upstream's limit for CRI messages: a list of many containers with long annotations.
const MESSAGE_BYTES: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{doing}: {}", .status.message())]
pub struct RuntimeError {
    pub doing: String,
    #[source]
    pub status: Status,
}

impl RuntimeError {
    pub fn not_found(&self) -> bool {
        self.status.code() == Code::NotFound
    }
}

pub type Result<T> = std::result::Result<T, RuntimeError>;

/// What the runtime knows of one pod.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub sandboxes: Vec<Sandbox>,
    pub containers: Vec<Container>,
}

#[derive(Clone)]
pub struct Runtime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

fn request<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn doing(what: impl Into<String>) -> impl FnOnce(Status) -> RuntimeError {
    move |status| RuntimeError { doing: what.into(), status }
}

impl Runtime {
    /// Connects when it is first used, and again whenever the runtime comes back.
    pub fn connect(socket: &Path) -> Runtime {
        let path: PathBuf = socket.to_owned();
        let channel =
            Endpoint::from_static("http://cri.invalid").connect_with_connector_lazy(tower::service_fn(move |_| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
            }));
        Runtime {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES),
        }
    }

    pub async fn version(&self) -> Result<cri::VersionResponse> {
        let call = request(cri::VersionRequest { version: "v1".into() }, CALL);
        Ok(self.runtime.clone().version(call).await.map_err(doing("asking the runtime for its version"))?.into_inner())
    }

    pub async fn status(&self) -> Result<cri::StatusResponse> {
        let call = request(cri::StatusRequest { verbose: false }, CALL);
        Ok(self.runtime.clone().status(call).await.map_err(doing("asking the runtime for its status"))?.into_inner())
    }

    pub async fn run_sandbox(&self, config: cri::PodSandboxConfig, handler: String) -> Result<String> {
        let call = cri::RunPodSandboxRequest { config: Some(config), runtime_handler: handler };
        let done = self.runtime.clone().run_pod_sandbox(request(call, CALL)).await;
        Ok(done.map_err(doing("making the pod's sandbox"))?.into_inner().pod_sandbox_id)
    }

    pub async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let call = cri::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let done = self.runtime.clone().stop_pod_sandbox(request(call, CALL)).await;
        gone_is_fine(done.map(drop).map_err(doing("stopping the pod's sandbox")))
    }

    pub async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let call = cri::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let done = self.runtime.clone().remove_pod_sandbox(request(call, CALL)).await;
        gone_is_fine(done.map(drop).map_err(doing("removing the pod's sandbox")))
    }

    pub async fn create(
        &self,
        sandbox: &str,
        config: cri::ContainerConfig,
        pod: cri::PodSandboxConfig,
    ) -> Result<String> {
        let call = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(pod),
        };
        let done = self.runtime.clone().create_container(request(call, CALL)).await;
        Ok(done.map_err(doing("creating the container"))?.into_inner().container_id)
    }

    pub async fn start(&self, id: &str) -> Result<()> {
        let call = cri::StartContainerRequest { container_id: id.to_owned() };
        let done = self.runtime.clone().start_container(request(call, CALL)).await;
        done.map(drop).map_err(doing("starting the container"))
    }

    /// Returns when it has ended: after SIGTERM, or after SIGKILL `grace` seconds later.
    pub async fn stop(&self, id: &str, grace: i64) -> Result<()> {
        let call = cri::StopContainerRequest { container_id: id.to_owned(), timeout: grace };
        let limit = CALL + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let done = self.runtime.clone().stop_container(request(call, limit)).await;
        gone_is_fine(done.map(drop).map_err(doing("stopping the container")))
    }

    pub async fn remove(&self, id: &str) -> Result<()> {
        let call = cri::RemoveContainerRequest { container_id: id.to_owned() };
        let done = self.runtime.clone().remove_container(request(call, CALL)).await;
        gone_is_fine(done.map(drop).map_err(doing("removing the container")))
    }

    pub async fn reopen_log(&self, id: &str) -> Result<()> {
        let call = cri::ReopenContainerLogRequest { container_id: id.to_owned() };
        let done = self.runtime.clone().reopen_container_log(request(call, CALL)).await;
        done.map(drop).map_err(doing("reopening the container's log"))
    }

    pub async fn exec_sync(&self, id: &str, cmd: Vec<String>, limit: Duration) -> Result<cri::ExecSyncResponse> {
        let timeout = i64::try_from(limit.as_secs()).unwrap_or(0).max(1);
        let call = cri::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
        let slack = Duration::from_secs(5);
        let done = self.runtime.clone().exec_sync(request(call, limit + slack)).await;
        Ok(done.map_err(doing("running a command in the container"))?.into_inner())
    }

    pub async fn exec(&self, call: cri::ExecRequest) -> Result<String> {
        let done = self.runtime.clone().exec(request(call, CALL)).await;
        Ok(done.map_err(doing("preparing exec"))?.into_inner().url)
    }

    pub async fn attach(&self, call: cri::AttachRequest) -> Result<String> {
        let done = self.runtime.clone().attach(request(call, CALL)).await;
        Ok(done.map_err(doing("preparing attach"))?.into_inner().url)
    }

    pub async fn port_forward(&self, call: cri::PortForwardRequest) -> Result<String> {
        let done = self.runtime.clone().port_forward(request(call, CALL)).await;
        Ok(done.map_err(doing("preparing port-forward"))?.into_inner().url)
    }

    /// Changes the limits of a running container; those that are 0 stay.
    pub async fn update(&self, id: &str, limits: cri::LinuxContainerResources) -> Result<()> {
        let call = cri::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(limits),
            ..cri::UpdateContainerResourcesRequest::default()
        };
        let done = self.runtime.clone().update_container_resources(request(call, CALL)).await;
        done.map(drop).map_err(doing("changing the container's limits"))
    }

    /// Bytes of memory that the container uses and the kernel cannot drop at once; none where the runtime does not know.
    pub async fn memory_of(&self, id: &str) -> Result<Option<u64>> {
        let call = cri::ContainerStatsRequest { container_id: id.to_owned() };
        let done = self.runtime.clone().container_stats(request(call, CALL)).await;
        let stats = done.map_err(doing("reading the container's statistics"))?.into_inner().stats;
        Ok(stats.and_then(|s| s.memory).and_then(|m| m.working_set_bytes).map(|v| v.value))
    }

    pub async fn stats(&self) -> Result<Vec<cri::ContainerStats>> {
        let call = request(cri::ListContainerStatsRequest { filter: None }, CALL);
        let done = self.runtime.clone().list_container_stats(call).await;
        Ok(done.map_err(doing("reading statistics of containers"))?.into_inner().stats)
    }

    /// Of every pod, with its containers'.
    pub async fn sandbox_stats(&self) -> Result<Vec<cri::PodSandboxStats>> {
        let call = request(cri::ListPodSandboxStatsRequest { filter: None }, CALL);
        let done = self.runtime.clone().list_pod_sandbox_stats(call).await;
        Ok(done.map_err(doing("reading statistics of pods"))?.into_inner().stats)
    }

    /// `None` where the runtime does not have it.
    pub async fn image(&self, image: &cri::ImageSpec) -> Result<Option<cri::Image>> {
        let call = cri::ImageStatusRequest { image: Some(image.clone()), verbose: false };
        match self.images.clone().image_status(request(call, CALL)).await {
            Ok(answer) => Ok(answer.into_inner().image.filter(|i| !i.id.is_empty())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(doing("looking for the image on this node")(status)),
        }
    }

    pub async fn pull(&self, call: cri::PullImageRequest) -> Result<String> {
        let done = self.images.clone().pull_image(request(call, PULL)).await;
        Ok(done.map_err(doing("pulling the image"))?.into_inner().image_ref)
    }

    pub async fn images(&self) -> Result<Vec<cri::Image>> {
        let call = request(cri::ListImagesRequest { filter: None }, CALL);
        Ok(self.images.clone().list_images(call).await.map_err(doing("listing images"))?.into_inner().images)
    }

    pub async fn remove_image(&self, id: &str) -> Result<()> {
        let image = Some(cri::ImageSpec { image: id.to_owned(), ..cri::ImageSpec::default() });
        let done = self.images.clone().remove_image(request(cri::RemoveImageRequest { image }, CALL)).await;
        gone_is_fine(done.map(drop).map_err(doing("removing an image")))
    }

    /// Changes of containers as the runtime sees them. Ends when the runtime goes away.
    pub async fn events(&self) -> Result<rpc::tonic::Streaming<cri::ContainerEventResponse>> {
        let done = self.runtime.clone().get_container_events(cri::GetEventsRequest {}).await;
        Ok(done.map_err(doing("subscribing to container events"))?.into_inner())
    }

    /// The pods that have a sandbox, each with the newest object's labels and annotations.
    pub async fn pods(&self) -> Result<Vec<(PodId, cri::PodSandbox)>> {
        let call = request(cri::ListPodSandboxRequest { filter: None }, CALL);
        let done = self.runtime.clone().list_pod_sandbox(call).await.map_err(doing("listing sandboxes"))?;
        let items = done.into_inner().items;
        Ok(items.into_iter().filter_map(|s| Some((PodId::from_labels(&s.labels)?, s))).collect())
    }

    pub async fn all_containers(&self) -> Result<Vec<cri::Container>> {
        let call = request(cri::ListContainersRequest { filter: None }, CALL);
        let done = self.runtime.clone().list_containers(call).await.map_err(doing("listing containers"))?;
        Ok(done.into_inner().containers)
    }

    /// Everything of one pod, newest first.
    pub async fn find(&self, uid: &str) -> Result<Found> {
        let labels = HashMap::from([(identity::POD_UID.to_owned(), uid.to_owned())]);
        let filter = PodSandboxFilter { label_selector: labels.clone(), ..PodSandboxFilter::default() };
        let sandboxes = cri::ListPodSandboxRequest { filter: Some(filter) };
        let filter = ContainerFilter { label_selector: labels, ..ContainerFilter::default() };
        let containers = cri::ListContainersRequest { filter: Some(filter) };
        let (mut one, mut two) = (self.runtime.clone(), self.runtime.clone());
        let (sandboxes, containers) = futures::try_join!(
            one.list_pod_sandbox(request(sandboxes, CALL)),
            two.list_containers(request(containers, CALL))
        )
        .map_err(doing("listing the pod's sandboxes and containers"))?;
        let sandboxes = sandboxes.into_inner().items.into_iter().map(|s| self.sandbox_of(s.id));
        let containers = containers.into_inner().containers.into_iter().map(|c| self.container_of(c));
        let (sandboxes, containers) =
            futures::try_join!(futures::future::try_join_all(sandboxes), futures::future::try_join_all(containers))?;
        let mut found = Found {
            sandboxes: sandboxes.into_iter().flatten().collect(),
            containers: containers.into_iter().flatten().collect(),
        };
        found.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.created, s.attempt)));
        found.containers.sort_by_key(|c| std::cmp::Reverse((c.created, c.attempt)));
        Ok(found)
    }

    async fn sandbox_of(&self, id: String) -> Result<Option<Sandbox>> {
        let call = cri::PodSandboxStatusRequest { pod_sandbox_id: id, verbose: false };
        match self.runtime.clone().pod_sandbox_status(request(call, CALL)).await {
            Ok(answer) => Ok(answer.into_inner().status.as_ref().map(observed::sandbox)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(doing("reading a sandbox's status")(status)),
        }
    }

    async fn container_of(&self, listed: cri::Container) -> Result<Option<Container>> {
        let call = cri::ContainerStatusRequest { container_id: listed.id, verbose: false };
        match self.runtime.clone().container_status(request(call, CALL)).await {
            Ok(answer) => {
                let status = answer.into_inner().status;
                Ok(status.as_ref().map(|s| observed::container(s, &listed.pod_sandbox_id)))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(doing("reading a container's status")(status)),
        }
    }
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(e) if e.not_found() => Ok(()),
        other => other,
    }
}
