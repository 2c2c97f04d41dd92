//! The gRPC health check (`grpc.health.v1.Health/Check`).

use k8s_openapi::api::core::v1::GRPCAction;
use rpc::tonic::transport::Endpoint;
use rpc::tonic::{Request, client::Grpc};

#[derive(Clone, PartialEq, rpc::prost::Message)]
#[prost(prost_path = "rpc::prost")]
struct Ask {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, rpc::prost::Message)]
#[prost(prost_path = "rpc::prost")]
struct Answer {
    /// 1 is SERVING.
    #[prost(int32, tag = "1")]
    status: i32,
}

pub(super) async fn check(ip: &str, action: &GRPCAction) -> Result<(), String> {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let endpoint = Endpoint::from_shared(format!("http://{host}:{}", action.port)).map_err(|e| e.to_string())?;
    let channel = endpoint.connect().await.map_err(|e| format!("failed to connect to {host}:{}: {e}", action.port))?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|e| e.to_string())?;
    let ask = Request::new(Ask { service: action.service.clone().unwrap_or_default() });
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec: rpc::tonic_prost::ProstCodec<Ask, Answer> = rpc::tonic_prost::ProstCodec::default();
    let answer = grpc.unary(ask, path, codec).await.map_err(|status| status.message().to_owned())?;
    match answer.into_inner().status {
        1 => Ok(()),
        other => Err(format!("service unhealthy (responded with {other})")),
    }
}
