//! CRI's ImageService.

use crate::images::{self, Auth, Stored};
use crate::shim::Shim;
use crate::stats;
use rpc::cri::image_service_server::ImageService;
use rpc::cri::*;
use rpc::tonic::{Request, Response, Status};
use std::pin::Pin;
use std::sync::Arc;

pub struct Images(pub Arc<Shim>);

type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

fn failed(error: images::Error) -> Status {
    match error {
        images::Error::NotFound(message) => Status::not_found(message),
        images::Error::Invalid(message) => Status::invalid_argument(message),
        images::Error::Io { .. } | images::Error::Registry { .. } => Status::internal(error.to_string()),
    }
}

fn image(stored: &Stored) -> Image {
    let repositories = stored.names.iter().filter_map(|name| images::normalize(name).ok());
    let mut digests: Vec<String> =
        repositories.map(|r| format!("{}/{}@{}", r.registry(), r.repository(), stored.digest)).collect();
    digests.dedup();
    let user = stored.user.split(':').next().unwrap_or_default();
    Image {
        id: stored.digest.clone(),
        repo_tags: stored.names.clone(),
        repo_digests: digests,
        size: stored.size,
        uid: user.parse().ok().map(|value| Int64Value { value }),
        username: if user.parse::<i64>().is_ok() { String::new() } else { user.to_owned() },
        spec: stored.names.first().map(|name| ImageSpec { image: name.clone(), ..Default::default() }),
        pinned: false,
    }
}

impl Images {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&images::Store) -> images::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.0.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|e| Status::internal(e.to_string()))?.map_err(failed)
    }

    async fn list(&self, filter: Option<ImageFilter>) -> Result<Vec<Image>, Status> {
        let wanted = filter.and_then(|filter| filter.image).map(|spec| spec.image).filter(|name| !name.is_empty());
        let found = match wanted {
            Some(name) => self.blocking(move |store| store.find(&name)).await?.into_iter().collect(),
            None => self.blocking(images::Store::list).await?,
        };
        Ok(found.iter().map(image).collect())
    }
}

fn auth(config: Option<AuthConfig>) -> Auth {
    use base64::Engine;
    let Some(config) = config else { return Auth::default() };
    if !config.registry_token.is_empty() {
        return Auth { token: config.registry_token, ..Auth::default() };
    }
    if config.username.is_empty()
        && let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(&config.auth)
        && let Ok(text) = String::from_utf8(bytes)
        && let Some((username, password)) = text.split_once(':')
    {
        return Auth { username: username.into(), password: password.into(), token: String::new() };
    }
    Auth { username: config.username, password: config.password, token: String::new() }
}

#[rpc::tonic::async_trait]
impl ImageService for Images {
    type StreamImagesStream = Stream<StreamImagesResponse>;

    async fn list_images(&self, request: Request<ListImagesRequest>) -> Answer<ListImagesResponse> {
        Ok(Response::new(ListImagesResponse { images: self.list(request.into_inner().filter).await? }))
    }

    async fn stream_images(&self, request: Request<StreamImagesRequest>) -> Answer<Self::StreamImagesStream> {
        let images = self.list(request.into_inner().filter).await?;
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(StreamImagesResponse { images })]))))
    }

    async fn image_status(&self, request: Request<ImageStatusRequest>) -> Answer<ImageStatusResponse> {
        let name = request.into_inner().image.unwrap_or_default().image;
        let found = self.blocking(move |store| store.find(&name)).await?;
        Ok(Response::new(ImageStatusResponse { image: found.as_ref().map(image), info: Default::default() }))
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Answer<PullImageResponse> {
        let request = request.into_inner();
        let name = request.image.unwrap_or_default().image;
        let report = |progress| tracing::trace!(?progress, "pulling");
        let pulled = images::pull(&self.0.store, &name, &auth(request.auth), &self.0.config.mirrors, &report).await;
        let digest = pulled.map_err(failed)?;
        // Unpacked now, a broken layer fails the pull and not the container.
        let (shown, ready) = (name, digest.clone());
        self.blocking(move |store| store.prepare(&shown, &ready)).await?;
        Ok(Response::new(PullImageResponse { image_ref: digest }))
    }

    async fn remove_image(&self, request: Request<RemoveImageRequest>) -> Answer<RemoveImageResponse> {
        let name = request.into_inner().image.unwrap_or_default().image;
        let used = self.0.images_in_use();
        self.blocking(move |store| store.remove(&name, &used)).await?;
        Ok(Response::new(RemoveImageResponse {}))
    }

    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Answer<ImageFsInfoResponse> {
        let root = self.0.config.root.clone();
        let figures = tokio::task::spawn_blocking(move || {
            let of = |part: &str| {
                let path = root.join(part);
                let (bytes, inodes) = stats::usage(&path);
                stats::filesystem(&path, bytes, inodes)
            };
            (of("images"), of("containers"))
        });
        let (images, containers) = figures.await.map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(ImageFsInfoResponse {
            image_filesystems: vec![images],
            container_filesystems: vec![containers],
        }))
    }
}
