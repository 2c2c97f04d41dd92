//! What the servers of a cluster know one another by, and the keys that they share.
//!
//! Members of the store are signed by an authority of their own: the cluster's signs whatever certificate request is
//! approved, and none of those must open the store.

use super::{Authority, Credential, Error, Subject, files, open_authority, open_leaf};
use std::path::Path;

/// The name in every member's certificate. Which member it is stands in its subject.
pub const NAME: &str = "member.store.wherry.internal";
const AUTHORITY: &str = "store-ca";
/// What every server of a cluster has. The certificates come after their keys: those alone are worth nothing.
const SHARED: [&str; 6] = ["ca.key", "ca.crt", "sa.key", "sa.pub", "store-ca.key", "store-ca.crt"];

/// One member's place.
pub struct Member {
    pub authority: Authority,
    /// Good for both ends of a connection.
    pub credential: Credential,
}

/// Opens or makes, in `dir` (usually `DIR/pki`), the authority of the store's members and the certificate of one.
pub fn open(dir: &Path, id: u64) -> Result<Member, Error> {
    files::make_dir(dir)?;
    let authority = open_authority(dir, AUTHORITY, "wherry store")?;
    let subject = Subject {
        common_name: format!("member {id}"),
        organization: String::new(),
        names: vec![NAME.into()],
        client: true,
        server: true,
    };
    Ok(Member { credential: open_leaf(dir, "store-member", &authority, &subject)?, authority })
}

/// The files that every server of the cluster has, by name. They are the cluster: whoever has them is its administrator.
pub fn shared(dir: &Path) -> Result<Vec<(String, String)>, Error> {
    let mut shared = Vec::new();
    for name in SHARED {
        let path = dir.join(name);
        let missing = || Error::Damaged { path: path.clone(), why: "it is missing".into() };
        shared.push((name.to_owned(), files::read(&path)?.ok_or_else(missing)?));
    }
    Ok(shared)
}

/// Writes the files of [`shared`] on a new server. Names that are none of them are refused.
pub fn adopt(dir: &Path, shared: &[(String, String)]) -> Result<(), Error> {
    files::make_dir(dir)?;
    for name in SHARED {
        let path = dir.join(name);
        let Some((_, text)) = shared.iter().find(|(given, _)| given == name) else {
            return Err(Error::Damaged { path, why: "the server that was asked did not send it".into() });
        };
        match name.ends_with(".key") {
            true => files::write_private(&path, text)?,
            false => files::write_public(&path, text)?,
        }
    }
    Ok(())
}
