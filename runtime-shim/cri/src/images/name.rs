//! Names of images as people write them, and the full names that they stand for.

use super::{Error, Result};
use oci_client::Reference;

/// The full name: `nginx` is `docker.io/library/nginx:latest`.
pub fn normalize(name: &str) -> Result<Reference> {
    name.parse().map_err(|error| Error::Invalid(format!("{name:?} is not the name of an image: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed_as_docker_does() {
        let cases = [
            ("nginx", Some("docker.io/library/nginx:latest")),
            ("user/app:1", Some("docker.io/user/app:1")),
            ("localhost:5000/x", Some("localhost:5000/x:latest")),
            ("ghcr.io/a/b:c", Some("ghcr.io/a/b:c")),
            ("UPPER", None),
            ("", None),
        ];
        for (name, full) in cases {
            assert_eq!(normalize(name).ok().map(|r| r.whole()).as_deref(), full, "for {name:?}");
        }
    }
}
