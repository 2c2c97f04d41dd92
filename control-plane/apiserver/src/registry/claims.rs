//! What the servers of one cluster agree by, in keys beside the objects: who holds what there is one of, and which servers
//! there are. No cache sees these keys.

use super::storage::{Storage, status};
use api::Status;
use bytes::Bytes;
use store::{Compare, KeyValue, Op, Revision, Txn, TxnOutcome};

const CLAIMS: &str = "/wherry/claims/";
const SERVERS: &str = "/wherry/servers/";

/// One thing that is held.
pub(crate) struct Claim {
    pub name: String,
    pub holder: String,
    /// Seconds since 1970, by the clock of the server that made it.
    pub since: i64,
    revision: Revision,
}

impl Claim {
    fn read(kv: &KeyValue) -> Option<Claim> {
        let name = std::str::from_utf8(&kv.key).ok()?.strip_prefix(CLAIMS)?.to_owned();
        let (since, holder) = std::str::from_utf8(&kv.value).ok()?.split_once(' ')?;
        Some(Claim { name, holder: holder.to_owned(), since: since.parse().ok()?, revision: kv.mod_revision })
    }
}

fn at(name: &str) -> Bytes {
    Bytes::from(format!("{CLAIMS}{name}"))
}

impl Storage {
    /// Takes all of these, or none: then it says which are taken.
    pub(crate) async fn claim(&self, names: &[String], holder: &str) -> Result<Vec<String>, Status> {
        let value = Bytes::from(format!("{} {holder}", jiff::Timestamp::now().as_second()));
        let compare = names.iter().map(|name| Compare::ModRevision(at(name), Revision(0))).collect();
        let ops = names.iter().map(|name| Op::Put { key: at(name), value: value.clone(), lease: 0 }).collect();
        match self.store.txn(Txn { compare, ops, volatile: false }).await.map_err(|e| status(&e))? {
            TxnOutcome::Committed(_) => Ok(Vec::new()),
            TxnOutcome::Conflict { current, .. } => {
                let taken = names.iter().zip(current).filter(|(_, current)| current.is_some());
                Ok(taken.map(|(name, _)| name.clone()).collect())
            }
        }
    }

    /// Gives back what this holder has of these.
    pub(crate) async fn unclaim(&self, names: &[String], holder: &str) -> Result<(), Status> {
        for name in names {
            let found = self.store.get(&at(name), None).await.map_err(|e| status(&e))?;
            if let Some(claim) = found.as_ref().and_then(Claim::read).filter(|claim| claim.holder == holder) {
                self.drop_claim(&claim).await?;
            }
        }
        Ok(())
    }

    /// Removes a claim, unless it has changed hands.
    pub(crate) async fn drop_claim(&self, claim: &Claim) -> Result<(), Status> {
        let compare = vec![Compare::ModRevision(at(&claim.name), claim.revision)];
        let txn = Txn { compare, ops: vec![Op::Delete { key: at(&claim.name) }], volatile: false };
        self.store.txn(txn).await.map(drop).map_err(|e| status(&e))
    }

    /// Everything that is held.
    pub(crate) async fn claims(&self) -> Result<Vec<Claim>, Status> {
        Ok(self.below(CLAIMS).await?.iter().filter_map(Claim::read).collect())
    }

    /// Makes a server known for as long as it renews the returned lease.
    pub(crate) async fn announce(&self, server: &str, ttl_seconds: u64) -> Result<u64, Status> {
        let lease = self.store.grant_lease(ttl_seconds).await.map_err(|e| status(&e))?;
        let put = Op::Put { key: Bytes::from(format!("{SERVERS}{server}")), value: Bytes::new(), lease };
        let txn = Txn { compare: Vec::new(), ops: vec![put], volatile: false };
        self.store.txn(txn).await.map_err(|e| status(&e))?;
        Ok(lease)
    }

    pub(crate) async fn renew(&self, lease: u64) -> Result<(), Status> {
        self.store.keep_alive(lease).await.map(drop).map_err(|e| status(&e))
    }

    pub(crate) async fn withdraw(&self, lease: u64) -> Result<(), Status> {
        self.store.revoke(lease).await.map(drop).map_err(|e| status(&e))
    }

    /// The servers that are known now, in order.
    pub(crate) async fn servers(&self) -> Result<Vec<String>, Status> {
        let found = self.below(SERVERS).await?;
        let name = |kv: &KeyValue| Some(std::str::from_utf8(&kv.key).ok()?.strip_prefix(SERVERS)?.to_owned());
        Ok(found.iter().filter_map(name).collect())
    }

    async fn below(&self, prefix: &str) -> Result<Vec<KeyValue>, Status> {
        let list = self.store.list(prefix.as_bytes(), &super::storage::end_of(prefix), None, 0).await;
        list.map(|list| list.items).map_err(|e| status(&e))
    }
}
