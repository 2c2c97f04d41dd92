//! Images from a registry and back to it.

use crate::world::{World, build};
use rpc::cri::*;

pub(crate) async fn images_are_pulled_through_a_mirror() {
    let mut world = World::new("pull").await;
    let elsewhere = tempfile::tempdir().expect("a directory");
    let remote = cri::images::Store::open(elsewhere.path()).expect("a store");
    let digest = build(&remote, world.directory.path(), "nginx:1.27");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let registry = tokio::spawn(async move { axum::serve(listener, cri::images::registry::router(remote)).await });
    world.stop().await;
    let mirror = serde_json::json!({ "mirrors": { "docker.io": { "endpoints": [format!("http://{address}")] } } });
    world.mirrors = serde_json::from_value(mirror).expect("mirrors");
    world.start().await;
    let spec = ImageSpec { image: "nginx:1.27".into(), ..Default::default() };
    let mut images = world.images().await;
    let pull = PullImageRequest { image: Some(spec.clone()), ..Default::default() };
    assert_eq!(images.pull_image(pull).await.expect("pulled").into_inner().image_ref, digest);
    let status =
        images.image_status(ImageStatusRequest { image: Some(spec.clone()), verbose: false }).await.expect("a status");
    let image = status.into_inner().image.expect("an image");
    assert_eq!(image.repo_tags, ["docker.io/library/nginx:1.27"]);
    assert_eq!(image.repo_digests, [format!("docker.io/library/nginx@{digest}")]);
    // And back under another name.
    let auth = cri::images::Auth::default();
    let name = format!("{address}/copy/web:2");
    world.store().name(&name, &digest).expect("named");
    cri::images::push(&world.store(), &name, &auth, &|_| {}).await.expect("pushed");
    let pushed =
        cri::images::Store::open(elsewhere.path()).expect("a store").find("docker.io/copy/web:2").expect("found");
    assert_eq!(pushed.expect("it is there").digest, digest);
    world.store().remove(&name, &Default::default()).expect("removed");
    images.remove_image(RemoveImageRequest { image: Some(spec) }).await.expect("removed");
    let left = std::fs::read_dir(world.root().join("images/blobs/sha256")).expect("read").count();
    assert_eq!(left, 0, "blobs are left");
    registry.abort();
}
