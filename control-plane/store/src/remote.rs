//! What an administrator asks the members of a running cluster, from outside of the store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Error, Result, Revision};
use crate::message::{Request, Response};
use crate::network::ask;
use crate::saving::SnapshotFile;
use crate::store::MemberInfo;
use crate::wire::{Dial, Framed};

/// A change of the members waits for a quorum's disks.
const ANSWER: Duration = Duration::from_secs(15);
/// Members that point to one another as the leader: an election is under way.
const POINTED: usize = 5;

/// Who belongs to the cluster of the member at an address, and which one leads, as far as that one knows.
pub async fn members(dial: Arc<dyn Dial>, address: &str) -> Result<(Vec<MemberInfo>, Option<u64>)> {
    match request(&Framed::new(dial), address, &Request::Members).await? {
        Response::Members { members, leader } => {
            let member = |(id, address, votes)| MemberInfo { id, address, votes };
            Ok((members.into_iter().map(member).collect(), leader))
        }
        other => Err(unexpected(&other)),
    }
}

/// Has the cluster go on without a member that is gone for good.
pub async fn remove(dial: Arc<dyn Dial>, address: &str, id: u64) -> Result<()> {
    let (wire, mut at) = (Framed::new(dial), address.to_owned());
    for _ in 0..POINTED {
        match request(&wire, &at, &Request::Leave { id }).await? {
            Response::Done => return Ok(()),
            Response::NotLeader(Some(leader)) => at = leader,
            Response::NotLeader(None) => break,
            other => return Err(unexpected(&other)),
        }
    }
    Err(Error::Unavailable("no member leads at the moment; try again".into()))
}

/// Saves everything that is there now in a file, from the member at an address while it runs. Its revision. `taker` is a
/// number that nobody else takes at the same time.
pub async fn save(dial: Arc<dyn Dial>, address: &str, taker: u64, path: &Path) -> Result<Revision> {
    let wire = Framed::new(dial);
    let mut snapshot = SnapshotFile::create(path)?;
    for number in 0.. {
        match request(&wire, address, &Request::Copy { taker, number }).await? {
            Response::Block { block: Some(block), .. } => snapshot.block(&block)?,
            Response::Block { block: None, revision } => {
                snapshot.finish()?;
                return Ok(revision);
            }
            other => return Err(unexpected(&other)),
        }
    }
    Err(Error::Unavailable("the snapshot has no end".into()))
}

async fn request(wire: &Framed, address: &str, request: &Request) -> Result<Response> {
    let failed = |error| Error::Unavailable(format!("the member at {address} did not answer: {error}"));
    match ask(wire, address, request, ANSWER).await.map_err(failed)? {
        Response::Failed(error) => Err(error),
        answer => Ok(answer),
    }
}

fn unexpected(answer: &Response) -> Error {
    Error::Unavailable(format!("a member answered out of turn: {answer:?}"))
}
