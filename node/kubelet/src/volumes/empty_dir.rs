//! `emptyDir`: a directory that lives as long as the pod; with `medium: Memory` a tmpfs of `sizeLimit`.
//!
//! A size limit on disk is not enforced.

use super::{Context, Error, memory};
use crate::quantity;
use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub(super) fn mount(context: &Context<'_>, source: &EmptyDirVolumeSource, dir: &Path) -> Result<(), Error> {
    let made = !dir.exists();
    fs::create_dir_all(dir).map_err(Error::io(format!("making {}", dir.display())))?;
    match source.medium.as_deref().unwrap_or_default() {
        "" => {}
        "Memory" => memory::tmpfs(dir, source.size_limit.as_ref().and_then(quantity::value))?,
        other => return Err(Error::Refused(format!("the medium {other:?} of an emptyDir is not supported"))),
    }
    if !made {
        return Ok(());
    }
    let group = context.fs_group();
    if group.is_some() {
        std::os::unix::fs::chown(dir, None, group)
            .map_err(Error::io(format!("changing the group of {}", dir.display())))?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(dir, permissions).map_err(Error::io(format!("changing the mode of {}", dir.display())))
}
