//! Having an image on the node, as the pull policy says.

use super::{Failed, Job};
use crate::sources::{Data, Key, Kind};
use crate::units::Unit;
use base64::Engine;
use jiff::Timestamp;
use rpc::cri;
use std::sync::Arc;

/// The image as the runtime knows it.
pub async fn ensure(job: &Job, unit: &Unit<'_>) -> Result<cri::Image, Failed> {
    let name = unit.spec.image.clone().unwrap_or_default();
    let class = job.pod.spec.as_ref().and_then(|s| s.runtime_class_name.as_deref());
    let handler = job.node.handler(class).map_err(|e| Failed::new("CreateContainerConfigError", e))?;
    let spec = cri::ImageSpec {
        image: name.clone(),
        user_specified_image: name.clone(),
        runtime_handler: handler,
        ..cri::ImageSpec::default()
    };
    let policy = unit.spec.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
    let look = || async { job.node.runtime.image(&spec).await.map_err(|e| Failed::new("ImageInspectError", e)) };
    let events = &job.node.events;
    if policy != "Always" {
        if let Some(image) = look().await? {
            let text = format!("Container image \"{name}\" already present on machine");
            events.normal(&job.pod, Some(unit.name()), "Pulled", text);
            return Ok(image);
        }
        if policy == "Never" {
            let text = format!("Container image \"{name}\" is not present with pull policy of Never");
            events.warning(&job.pod, Some(unit.name()), "ErrImageNeverPull", text.clone());
            return Err(Failed::new("ErrImageNeverPull", text));
        }
    }
    events.normal(&job.pod, Some(unit.name()), "Pulling", format!("Pulling image \"{name}\""));
    let begun = Timestamp::now();
    if let Err(text) = pull(job, &spec).await {
        let message = format!("Failed to pull image \"{name}\": {text}");
        events.warning(&job.pod, Some(unit.name()), "Failed", message);
        events.warning(&job.pod, Some(unit.name()), "Failed", "Error: ErrImagePull");
        return Err(Failed { pull: true, ..Failed::new("ErrImagePull", text) });
    }
    let image = look().await?;
    let image =
        image.ok_or_else(|| Failed::new("ErrImagePull", format!("image \"{name}\" is not there after its pull")))?;
    let took = Timestamp::now().duration_since(begun);
    let text =
        format!("Successfully pulled image \"{name}\" in {}ms. Image size: {} bytes.", took.as_millis(), image.size);
    events.normal(&job.pod, Some(unit.name()), "Pulled", text);
    Ok(image)
}

/// Tries each credential for the image's registry, or none where there is none.
async fn pull(job: &Job, spec: &cri::ImageSpec) -> Result<(), String> {
    let mut tries: Vec<Option<cri::AuthConfig>> = credentials(job, &spec.image).await.into_iter().map(Some).collect();
    if tries.is_empty() {
        tries.push(None);
    }
    let mut error = String::new();
    for auth in tries {
        let call = cri::PullImageRequest { image: Some(spec.clone()), auth, sandbox_config: None };
        match job.node.runtime.pull(call).await {
            Ok(_) => return Ok(()),
            Err(e) => error = e.status.message().to_owned(),
        }
    }
    Err(error)
}

async fn credentials(job: &Job, image: &str) -> Vec<cri::AuthConfig> {
    let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
    let namespace = job.pod.metadata.namespace.clone().unwrap_or_default();
    let secrets = job.pod.spec.as_ref().and_then(|s| s.image_pull_secrets.clone()).unwrap_or_default();
    let mut list = Vec::new();
    for secret in secrets {
        let key = Key { kind: Kind::Secret, namespace: namespace.clone(), name: secret.name.clone() };
        match job.node.sources.get(&key, uid).await {
            Ok(Some(data)) => list.extend(of_secret(&data, image)),
            Ok(None) => {
                let text = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    secret.name
                );
                job.node.events.warning(&job.pod, None, "FailedToRetrieveImagePullSecret", text);
            }
            Err(error) => tracing::warn!(secret = secret.name, %error, "reading an image pull secret"),
        }
    }
    list
}

fn of_secret(data: &Arc<Data>, image: &str) -> Vec<cri::AuthConfig> {
    let parse = |key: &str| data.entries.get(key).and_then(|b| serde_json::from_slice::<serde_json::Value>(b).ok());
    let registries = match parse(".dockerconfigjson") {
        Some(v) => v.get("auths").cloned(),
        None => parse(".dockercfg"),
    };
    let Some(serde_json::Value::Object(registries)) = registries else { return Vec::new() };
    let mut fitting: Vec<_> = registries.iter().filter(|(r, _)| fits(r, image)).collect();
    // The longest name says most about the image.
    fitting.sort_by_key(|(r, _)| std::cmp::Reverse(r.len()));
    fitting.into_iter().map(|(registry, entry)| auth(registry, entry)).collect()
}

fn auth(registry: &str, entry: &serde_json::Value) -> cri::AuthConfig {
    let text = |key: &str| entry.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")).ok();
    let pair = decoded.and_then(|b| String::from_utf8(b).ok());
    let (user, password) = match pair.as_deref().and_then(|p| p.split_once(':')) {
        Some((u, p)) => (u.to_owned(), p.to_owned()),
        None => (text("username"), text("password")),
    };
    cri::AuthConfig {
        username: user,
        password,
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        server_address: registry.to_owned(),
        auth: String::new(),
    }
}

/// Whether an entry of a docker configuration is for the image: host and port equal (`*` stands for one label),
/// and the entry's path a prefix of the image's.
fn fits(registry: &str, image: &str) -> bool {
    let bare = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or(bare.strip_suffix("/v2")).unwrap_or(bare);
    let image = full(image);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let (image_host, image_path) = image.split_once('/').unwrap_or((&image, ""));
    let host = if host == "docker.io" { "index.docker.io" } else { host };
    let labels = |h: &str| h.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (want, have) = (labels(host), labels(image_host));
    let same = want.len() == have.len() && want.iter().zip(&have).all(|(w, h)| w == "*" || w == h);
    same && (path.is_empty() || image_path == path || image_path.starts_with(&format!("{path}/")))
}

/// `nginx` → `index.docker.io/library/nginx`.
fn full(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
            if host == "docker.io" {
                image.replacen("docker.io", "index.docker.io", 1)
            } else {
                image.to_owned()
            }
        }
        Some(_) => format!("index.docker.io/{image}"),
        None => format!("index.docker.io/library/{image}"),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn credentials_belong_to_their_registry() {
        for (registry, image, fit) in [
            ("https://index.docker.io/v1/", "nginx", true),
            ("docker.io", "me/app:1", true),
            ("reg.example:5000", "reg.example:5000/a/b", true),
            ("reg.example:5000", "reg.example/a/b", false),
            ("reg.example/a", "reg.example/a/b", true),
            ("reg.example/a", "reg.example/ab", false),
            ("*.example", "x.example/a", true),
            ("*.example", "x.y.example/a", false),
        ] {
            assert_eq!(fits(registry, image), fit, "{registry} {image}");
        }
    }
}
