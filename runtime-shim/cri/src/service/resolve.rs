//! What the streaming server asks the shim.

use crate::shim::Shim;
use crate::streaming::Resolve;
use container::{Error, Executor, Result};
use rpc::tonic::{Code, Status};
use std::path::PathBuf;
use std::sync::Arc;

#[async_trait::async_trait]
impl Resolve for Shim {
    async fn executor(&self, container_id: &str) -> Result<Arc<dyn Executor>> {
        let record = self.container(container_id).map_err(error)?;
        Shim::executor(self, &record.executor).map_err(error)
    }

    async fn sandbox_netns(&self, sandbox_id: &str) -> Result<Option<PathBuf>> {
        Ok(self.sandbox(sandbox_id).map_err(error)?.spec.netns.clone())
    }
}

fn error(status: Status) -> Error {
    let text = status.message().to_owned();
    if status.code() == Code::NotFound { Error::NotFound(text) } else { Error::Invalid(text) }
}
