//! `wherry store`: looks after the data of a control plane that does not run, and after the members of one that does.

use crate::cli;
use crate::data_dir;
use crate::servers;
use anyhow::{Context, ensure};
use rand::Rng;
use std::path::Path;
use store::{Config, Revision, Store, offline, remote};

pub async fn run(command: cli::Store) -> anyhow::Result<()> {
    match command {
        cli::Store::Status(flags) => status(&dir(&flags)),
        cli::Store::Check(flags) => check(&dir(&flags)),
        cli::Store::Defrag(flags) => defrag(&dir(&flags)),
        cli::Store::Snapshot(cli::Snapshot::Save(flags)) => save(&flags).await,
        cli::Store::Member(cli::Member::List(flags)) => members(&flags.data_dir).await,
        cli::Store::Member(cli::Member::Remove(flags)) => remove(&flags.store.data_dir, flags.id).await,
        cli::Store::Snapshot(cli::Snapshot::Restore(flags)) => restore(&flags.file, &dir(&flags.store)),
    }
}

fn dir(flags: &cli::StoreDir) -> std::path::PathBuf {
    flags.data_dir.join("store")
}

fn status(dir: &Path) -> anyhow::Result<()> {
    let status = offline::status(dir).context("looking at the store")?;
    let or_none = |number: Option<u64>| number.map_or_else(|| "none".into(), |number| number.to_string());
    println!("revision        {}", status.revision.0);
    println!("compacted       {}", status.compacted.0);
    println!("keys            {}", status.keys);
    println!("leases          {}", status.leases);
    println!("history         {} changes, {}", status.history, size(status.history_bytes));
    println!("applied entry   {}", or_none(status.applied));
    println!("newest entry    {}", or_none(status.logged));
    println!("tables          {}, of which {} are used", size(status.tables_bytes), size(status.tables_used_bytes));
    println!("log             {} in {} files", size(status.log_bytes), status.log_files);
    for (id, address) in status.members {
        println!("member          {id} {address}");
    }
    Ok(())
}

async fn members(dir: &Path) -> anyhow::Result<()> {
    let (dialer, address) = servers::dialer(dir)?;
    let (members, leader) = remote::members(dialer, &address).await.context("asking for the members")?;
    for member in members {
        let votes = if member.votes { "votes" } else { "catches up" };
        let leads = if leader == Some(member.id) { ", leads" } else { "" };
        println!("{:<12}{:<24}{votes}{leads}", member.id, member.address);
    }
    Ok(())
}

async fn remove(dir: &Path, id: u64) -> anyhow::Result<()> {
    let (dialer, address) = servers::dialer(dir)?;
    let (members, _) = remote::members(dialer.clone(), &address).await.context("asking for the members")?;
    ensure!(members.iter().any(|member| member.id == id), "there is no member {id}");
    ensure!(members.len() > 1, "{id} is the only member");
    remote::remove(dialer, &address, id).await.context("removing the member")?;
    println!("the others go on without member {id}");
    Ok(())
}

fn check(dir: &Path) -> anyhow::Result<()> {
    let checked = offline::check(dir).context("checking the store")?;
    println!("{} keys, {} changes, {} records of the log", checked.keys, checked.changes, checked.records);
    for unfinished in &checked.unfinished {
        println!("unfinished, and dropped at the next start: {unfinished}");
    }
    for problem in &checked.problems {
        println!("problem: {problem}");
    }
    ensure!(checked.problems.is_empty(), "{} problems in {}", checked.problems.len(), dir.display());
    println!("no problems");
    Ok(())
}

fn defrag(dir: &Path) -> anyhow::Result<()> {
    let (before, after) = offline::defrag(dir).context("writing the tables anew")?;
    println!("tables: {} before, {} now", size(before), size(after));
    Ok(())
}

/// From the server that runs, where it is one of several; else from its files.
async fn save(flags: &cli::SnapshotFile) -> anyhow::Result<()> {
    let (dir, file) = (dir(&flags.store), &flags.file);
    ensure!(dir.join("version").exists(), "{} holds no store", dir.display());
    let among_several = data_dir::read(&flags.store.data_dir)?.is_some_and(|settings| settings.place.is_some());
    let revision = match among_several {
        true => save_member(&flags.store.data_dir, &dir, file).await?,
        false => {
            let store = Store::open(Config::new(&dir)).await.context("opening the store")?;
            let saved = store.save(file).await;
            store.close().await.context("closing the store")?;
            saved?
        }
    };
    println!("{} holds revision {}", file.display(), revision.0);
    Ok(())
}

async fn save_member(data_dir: &Path, dir: &Path, file: &Path) -> anyhow::Result<Revision> {
    if offline::is_in_use(dir)? {
        let (dialer, address) = servers::dialer(data_dir)?;
        let taker = rand::rng().random();
        return remote::save(dialer, &address, taker, file).await.context("saving from the server that runs");
    }
    let revision = offline::save(dir, file).context("saving the files of a server that does not run")?;
    eprintln!("This server does not run: what the others have written since then is missing.");
    Ok(revision)
}

fn restore(file: &Path, dir: &Path) -> anyhow::Result<()> {
    let revision = offline::restore(file, dir).context("restoring the snapshot")?;
    println!("{} starts at revision {}", dir.display(), revision.0);
    Ok(())
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
