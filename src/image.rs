//! `wherry image`: images without a daemon, in the store of a node.

use crate::cli::{Image, ImageBuild};
use crate::progress::Step;
use crate::shim;
use anyhow::{Context, ensure};
use cri::images::{self, Auth, Progress, Store};
use std::collections::BTreeSet;
use std::path::Path;

pub async fn run(command: Image) -> anyhow::Result<()> {
    match command {
        Image::Build(flags) => tokio::task::spawn_blocking(move || build(&flags)).await?,
        Image::Import(flags) => {
            let store = open(&flags.cluster.data_dir)?;
            let step = Step::start(format!("importing {}", flags.source.display()));
            let names = images::import(&store, &flags.source, flags.tag.as_deref(), &|p| step.say(words(&p)))?;
            step.done(&names.join(", "));
            Ok(())
        }
        Image::Push(flags) => {
            let store = open(&flags.cluster.data_dir)?;
            let step = Step::start(format!("pushing {}", flags.name));
            images::push(&store, &flags.name, &Auth::default(), &|p| step.say(words(&p))).await?;
            step.done("");
            Ok(())
        }
        Image::List(flags) => list(&open(&flags.data_dir)?),
        Image::Rm(flags) => {
            let removed = open(&flags.cluster.data_dir)?.remove(&flags.name, &BTreeSet::new())?;
            ensure!(removed, "there is no image {:?}", flags.name);
            Ok(())
        }
    }
}

fn open(data_dir: &Path) -> anyhow::Result<Store> {
    let dir = shim::images(data_dir);
    Store::open(&dir).with_context(|| format!("opening the images in {}", dir.display()))
}

/// What the file is made of decides what becomes of it: WebAssembly (text or binary), or an image for containers.
fn build(flags: &ImageBuild) -> anyhow::Result<()> {
    let store = open(&flags.cluster.data_dir)?;
    let step = Step::start(format!("image {}", flags.tag));
    let wasm = flags.source.extension().is_some_and(|e| e == "wat" || e == "wasm");
    let digest = if wasm {
        ensure!(flags.entrypoint.is_empty(), "--entrypoint is for containers: a WebAssembly file is its own");
        images::build_wasm(&store, &flags.source, &flags.tag, &|p| step.say(words(&p)))
    } else {
        images::build_oci(&store, &flags.source, &flags.entrypoint, &flags.tag, &|p| step.say(words(&p)))
    };
    step.done(&digest?);
    Ok(())
}

fn list(store: &Store) -> anyhow::Result<()> {
    println!("{:<60}{:<16}SIZE", "NAME", "DIGEST");
    for image in store.list()? {
        let digest = image.digest.strip_prefix("sha256:").unwrap_or(&image.digest);
        let short = digest.get(..12).unwrap_or(digest);
        for name in &image.names {
            println!("{name:<60}{short:<16}{:.1} MiB", image.size as f64 / f64::from(1 << 20));
        }
    }
    Ok(())
}

fn words(progress: &Progress) -> String {
    match progress {
        Progress::Step(step) => step.clone(),
        Progress::Blob { digest, done, total } => {
            let short = digest.get(..19).unwrap_or(digest);
            format!("{short} {:.1} of {:.1} MiB", *done as f64 / 1048576.0, *total as f64 / 1048576.0)
        }
    }
}
