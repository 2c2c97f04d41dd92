//! CRI's RuntimeService.

use crate::containers::{self, status};
use crate::record::{ContainerRecord, SandboxRecord};
use crate::shim::Shim;
use crate::streaming::Streaming;
use crate::{convert, sandboxes, stats};
use container::{ExecSpec, Stdio};
use futures::StreamExt;
use rpc::cri::runtime_service_server::RuntimeService;
use rpc::cri::*;
use rpc::tonic::{Request, Response, Status};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio_stream::wrappers::BroadcastStream;

pub struct Runtime(pub Arc<Shim>, pub Streaming);

type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// What one stream of an ExecSync may say: it is answered in one message, which gRPC limits.
const OUTPUT_LIMIT: u64 = 7 * 1024 * 1024;

fn once<T: Send + 'static>(item: T) -> Response<Stream<T>> {
    Response::new(Box::pin(futures::stream::iter([Ok(item)])))
}

fn not_offered<T>(what: &str) -> Answer<T> {
    Err(Status::unimplemented(format!("{what} is not offered by this runtime")))
}

/// Does what is asked to its end, also for a client that has left: what is half made would be in no record, and could not
/// be removed.
async fn whole<T: Send + 'static>(work: impl Future<Output = Result<T, Status>> + Send + 'static) -> Result<T, Status> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(Status::internal(error.to_string())))
}

impl Runtime {
    fn listed_sandboxes(&self, filter: &Option<PodSandboxFilter>) -> Vec<PodSandbox> {
        let all = self.0.sandboxes();
        all.iter().filter(|record| sandboxes::matches(record, filter)).map(sandboxes::listed).collect()
    }

    fn listed_containers(&self, filter: &Option<ContainerFilter>) -> Vec<Container> {
        let all = self.0.containers();
        all.iter().filter(|record| containers::matches(record, filter)).map(containers::listed).collect()
    }

    /// The id of a container that can be streamed to: a running one.
    fn streamed(&self, id: &str) -> Result<String, Status> {
        let record = self.0.container(id)?;
        if record.running() {
            return Ok(record.spec.id);
        }
        Err(Status::failed_precondition(format!("container {} does not run", record.spec.id)))
    }

    async fn container_stats_of(&self, filter: Option<ContainerStatsFilter>) -> Vec<ContainerStats> {
        let filter = filter.map(|filter| ContainerFilter {
            id: filter.id,
            pod_sandbox_id: filter.pod_sandbox_id,
            label_selector: filter.label_selector,
            state: None,
        });
        let mut all = Vec::new();
        let wanted = |record: &ContainerRecord| record.running() && containers::matches(record, &filter);
        for record in self.0.containers().into_iter().filter(wanted) {
            all.push(stats::container(&self.0, &record).await);
        }
        all
    }

    async fn sandbox_stats_of(&self, filter: Option<PodSandboxStatsFilter>) -> Vec<PodSandboxStats> {
        let filter =
            filter.map(|filter| PodSandboxFilter { id: filter.id, label_selector: filter.label_selector, state: None });
        let mut all = Vec::new();
        let wanted = |record: &SandboxRecord| record.ready && sandboxes::matches(record, &filter);
        for record in self.0.sandboxes().into_iter().filter(wanted) {
            all.push(stats::sandbox(&self.0, &record).await);
        }
        all
    }

    fn event(shim: &Shim, event: crate::events::Event) -> ContainerEventResponse {
        let sandbox = shim.sandbox(&event.sandbox_id).ok();
        let containers = shim.containers_of(&event.sandbox_id);
        ContainerEventResponse {
            container_id: event.container_id,
            container_event_type: event.kind as i32,
            created_at: event.at,
            pod_sandbox_status: sandbox.as_ref().map(sandboxes::status),
            containers_statuses: containers.iter().map(containers::container_status).collect(),
        }
    }
}

#[rpc::tonic::async_trait]
impl RuntimeService for Runtime {
    type StreamPodSandboxesStream = Stream<StreamPodSandboxesResponse>;
    type StreamContainersStream = Stream<StreamContainersResponse>;
    type StreamContainerStatsStream = Stream<StreamContainerStatsResponse>;
    type StreamPodSandboxStatsStream = Stream<StreamPodSandboxStatsResponse>;
    type StreamPodSandboxMetricsStream = Stream<StreamPodSandboxMetricsResponse>;
    type GetContainerEventsStream = Stream<ContainerEventResponse>;

    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        Ok(Response::new(VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "wherry".into(),
            runtime_version: self.0.config.version.clone(),
            runtime_api_version: "v1".into(),
        }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let condition = |kind: &str| RuntimeCondition { r#type: kind.into(), status: true, ..Default::default() };
        let handler =
            |name: &str| RuntimeHandler { name: name.into(), features: Some(RuntimeHandlerFeatures::default()) };
        let handlers = std::iter::once("").chain(self.0.executors.iter().map(|executor| executor.name())).map(handler);
        Ok(Response::new(StatusResponse {
            status: Some(RuntimeStatus { conditions: vec![condition("RuntimeReady"), condition("NetworkReady")] }),
            info: Default::default(),
            runtime_handlers: handlers.collect(),
            features: Some(RuntimeFeatures { supplemental_groups_policy: true, ..RuntimeFeatures::default() }),
        }))
    }

    async fn run_pod_sandbox(&self, request: Request<RunPodSandboxRequest>) -> Answer<RunPodSandboxResponse> {
        let (shim, request) = (self.0.clone(), request.into_inner());
        let pod_sandbox_id = whole(async move { sandboxes::run(&shim, request).await }).await?;
        Ok(Response::new(RunPodSandboxResponse { pod_sandbox_id }))
    }

    async fn stop_pod_sandbox(&self, request: Request<StopPodSandboxRequest>) -> Answer<StopPodSandboxResponse> {
        let (shim, request) = (self.0.clone(), request.into_inner());
        whole(async move { sandboxes::stop(&shim, &request.pod_sandbox_id).await }).await?;
        Ok(Response::new(StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(&self, request: Request<RemovePodSandboxRequest>) -> Answer<RemovePodSandboxResponse> {
        let (shim, request) = (self.0.clone(), request.into_inner());
        whole(async move { sandboxes::remove(&shim, &request.pod_sandbox_id).await }).await?;
        Ok(Response::new(RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(&self, request: Request<PodSandboxStatusRequest>) -> Answer<PodSandboxStatusResponse> {
        let record = self.0.sandbox(&request.into_inner().pod_sandbox_id)?;
        let containers = self.0.containers_of(&record.spec.id);
        Ok(Response::new(PodSandboxStatusResponse {
            status: Some(sandboxes::status(&record)),
            info: Default::default(),
            containers_statuses: containers.iter().map(containers::container_status).collect(),
            timestamp: crate::events::now_ns(),
        }))
    }

    async fn list_pod_sandbox(&self, request: Request<ListPodSandboxRequest>) -> Answer<ListPodSandboxResponse> {
        let items = self.listed_sandboxes(&request.into_inner().filter);
        Ok(Response::new(ListPodSandboxResponse { items }))
    }

    async fn stream_pod_sandboxes(
        &self,
        request: Request<StreamPodSandboxesRequest>,
    ) -> Answer<Self::StreamPodSandboxesStream> {
        let pod_sandboxes = self.listed_sandboxes(&request.into_inner().filter);
        Ok(once(StreamPodSandboxesResponse { pod_sandboxes }))
    }

    async fn create_container(&self, request: Request<CreateContainerRequest>) -> Answer<CreateContainerResponse> {
        let (shim, request) = (self.0.clone(), request.into_inner());
        let container_id = whole(async move { containers::create(&shim, request).await }).await?;
        Ok(Response::new(CreateContainerResponse { container_id }))
    }

    async fn start_container(&self, request: Request<StartContainerRequest>) -> Answer<StartContainerResponse> {
        let (shim, request) = (self.0.clone(), request.into_inner());
        whole(async move { containers::start(&shim, &request.container_id).await }).await?;
        Ok(Response::new(StartContainerResponse {}))
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let request = request.into_inner();
        containers::stop(&self.0, &request.container_id, request.timeout).await?;
        Ok(Response::new(StopContainerResponse {}))
    }

    async fn remove_container(&self, request: Request<RemoveContainerRequest>) -> Answer<RemoveContainerResponse> {
        let (shim, request) = (self.0.clone(), request.into_inner());
        whole(async move { containers::remove(&shim, &request.container_id).await }).await?;
        Ok(Response::new(RemoveContainerResponse {}))
    }

    async fn list_containers(&self, request: Request<ListContainersRequest>) -> Answer<ListContainersResponse> {
        let containers = self.listed_containers(&request.into_inner().filter);
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn stream_containers(
        &self,
        request: Request<StreamContainersRequest>,
    ) -> Answer<Self::StreamContainersStream> {
        let containers = self.listed_containers(&request.into_inner().filter);
        Ok(once(StreamContainersResponse { containers }))
    }

    async fn container_status(&self, request: Request<ContainerStatusRequest>) -> Answer<ContainerStatusResponse> {
        let record = self.0.container(&request.into_inner().container_id)?;
        let status = Some(containers::container_status(&record));
        Ok(Response::new(ContainerStatusResponse { status, info: Default::default() }))
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        let request = request.into_inner();
        let record = self.0.container(&request.container_id)?;
        let wanted = convert::resources(&request.linux.unwrap_or_default());
        let executor = self.0.executor(&record.executor)?;
        executor.update(&record.spec.id, &wanted).await.map_err(status)?;
        self.0.set_resources(&record.spec.id, convert::merge(&record.spec.resources, &wanted));
        Ok(Response::new(UpdateContainerResourcesResponse {}))
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Answer<ReopenContainerLogResponse> {
        let record = self.0.container(&request.into_inner().container_id)?;
        if !record.running() {
            return Err(Status::failed_precondition(format!("container {} does not run", record.spec.id)));
        }
        self.0.executor(&record.executor)?.reopen_log(&record.spec.id).await.map_err(status)?;
        Ok(Response::new(ReopenContainerLogResponse {}))
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        let request = request.into_inner();
        let record = self.0.container(&request.container_id)?;
        let executor = self.0.executor(&record.executor)?;
        let (stdout, out_writer) = tokio::io::duplex(64 * 1024);
        let (stderr, err_writer) = tokio::io::duplex(64 * 1024);
        let stdio =
            Stdio { stdin: None, stdout: Some(Box::new(out_writer)), stderr: Some(Box::new(err_writer)), resize: None };
        let exec = ExecSpec { command: request.cmd, tty: false };
        let run =
            async { tokio::join!(executor.exec(&record.spec.id, &exec, stdio), collect(stdout), collect(stderr)) };
        let (code, stdout, stderr) = match u64::try_from(request.timeout) {
            Ok(seconds @ 1..) => tokio::time::timeout(Duration::from_secs(seconds), run).await.map_err(|_| {
                Status::deadline_exceeded(format!("command {:?} timed out after {seconds} s", exec.command))
            })?,
            _ => run.await,
        };
        Ok(Response::new(ExecSyncResponse { exit_code: code.map_err(status)?, stdout, stderr }))
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Answer<ExecResponse> {
        let mut request = request.into_inner();
        request.container_id = self.streamed(&request.container_id)?;
        Ok(Response::new(ExecResponse { url: self.1.exec(request)? }))
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Answer<AttachResponse> {
        let mut request = request.into_inner();
        request.container_id = self.streamed(&request.container_id)?;
        Ok(Response::new(AttachResponse { url: self.1.attach(request)? }))
    }

    async fn port_forward(&self, request: Request<PortForwardRequest>) -> Answer<PortForwardResponse> {
        let mut request = request.into_inner();
        let record = self.0.sandbox(&request.pod_sandbox_id)?;
        if !record.ready {
            return Err(Status::failed_precondition(format!("pod sandbox {} is not ready", record.spec.id)));
        }
        request.pod_sandbox_id = record.spec.id.clone();
        Ok(Response::new(PortForwardResponse { url: self.1.port_forward(request)? }))
    }

    async fn container_stats(&self, request: Request<ContainerStatsRequest>) -> Answer<ContainerStatsResponse> {
        let record = self.0.container(&request.into_inner().container_id)?;
        let stats = Some(stats::container(&self.0, &record).await);
        Ok(Response::new(ContainerStatsResponse { stats }))
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Answer<ListContainerStatsResponse> {
        let stats = self.container_stats_of(request.into_inner().filter).await;
        Ok(Response::new(ListContainerStatsResponse { stats }))
    }

    async fn stream_container_stats(
        &self,
        request: Request<StreamContainerStatsRequest>,
    ) -> Answer<Self::StreamContainerStatsStream> {
        let container_stats = self.container_stats_of(request.into_inner().filter).await;
        Ok(once(StreamContainerStatsResponse { container_stats }))
    }

    async fn pod_sandbox_stats(&self, request: Request<PodSandboxStatsRequest>) -> Answer<PodSandboxStatsResponse> {
        let record = self.0.sandbox(&request.into_inner().pod_sandbox_id)?;
        let stats = Some(stats::sandbox(&self.0, &record).await);
        Ok(Response::new(PodSandboxStatsResponse { stats }))
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<ListPodSandboxStatsResponse> {
        let stats = self.sandbox_stats_of(request.into_inner().filter).await;
        Ok(Response::new(ListPodSandboxStatsResponse { stats }))
    }

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<StreamPodSandboxStatsRequest>,
    ) -> Answer<Self::StreamPodSandboxStatsStream> {
        let pod_sandbox_stats = self.sandbox_stats_of(request.into_inner().filter).await;
        Ok(once(StreamPodSandboxStatsResponse { pod_sandbox_stats }))
    }

    /// The pod's address range is set when the node starts and never changes here.
    async fn update_runtime_config(
        &self,
        _: Request<UpdateRuntimeConfigRequest>,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        Ok(Response::new(UpdateRuntimeConfigResponse {}))
    }

    async fn checkpoint_container(
        &self,
        _: Request<CheckpointContainerRequest>,
    ) -> Answer<CheckpointContainerResponse> {
        not_offered("CheckpointContainer")
    }

    async fn checkpoint_pod(&self, _: Request<CheckpointPodRequest>) -> Answer<CheckpointPodResponse> {
        not_offered("CheckpointPod")
    }

    async fn restore_pod(&self, _: Request<RestorePodRequest>) -> Answer<RestorePodResponse> {
        not_offered("RestorePod")
    }

    async fn get_container_events(&self, _: Request<GetEventsRequest>) -> Answer<Self::GetContainerEventsStream> {
        let shim = self.0.clone();
        let events = BroadcastStream::new(shim.events.listen()).map(move |event| match event {
            Ok(event) => Ok(Runtime::event(&shim, event)),
            // The client must list anew: it learns so by the end of its stream.
            Err(_) => Err(Status::data_loss("the client was too slow for the events")),
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<ListMetricDescriptorsRequest>,
    ) -> Answer<ListMetricDescriptorsResponse> {
        Ok(Response::new(ListMetricDescriptorsResponse { descriptors: Vec::new() }))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<ListPodSandboxMetricsRequest>,
    ) -> Answer<ListPodSandboxMetricsResponse> {
        not_offered("ListPodSandboxMetrics")
    }

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<StreamPodSandboxMetricsRequest>,
    ) -> Answer<Self::StreamPodSandboxMetricsStream> {
        not_offered("StreamPodSandboxMetrics")
    }

    async fn runtime_config(&self, _: Request<RuntimeConfigRequest>) -> Answer<RuntimeConfigResponse> {
        let linux = LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs as i32 };
        Ok(Response::new(RuntimeConfigResponse { linux: Some(linux) }))
    }

    async fn update_pod_sandbox_resources(
        &self,
        _: Request<UpdatePodSandboxResourcesRequest>,
    ) -> Answer<UpdatePodSandboxResourcesResponse> {
        // The kubelet itself changes the pod's group; the runtime has nothing of its own to change.
        Ok(Response::new(UpdatePodSandboxResourcesResponse {}))
    }
}

/// Reads everything and keeps what fits.
async fn collect(mut from: tokio::io::DuplexStream) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = (&mut from).take(OUTPUT_LIMIT).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    kept
}
