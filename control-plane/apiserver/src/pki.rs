//! The cluster's own CA and the certificates made from it, kept in `data_dir/pki`.

use crate::{Config, Error};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) struct Pki {}

impl Pki {
    /// Reads what is there and makes what is missing.
    pub(crate) fn open(_config: &Config) -> Result<Pki, Error> {
        Ok(Pki {})
    }

    /// The chain and key the listener serves with.
    pub(crate) fn serving(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        Err(Error::Pki("there is no serving certificate".into()))
    }

    /// The CAs whose client certificates are believed.
    pub(crate) fn client_roots(&self) -> Vec<CertificateDer<'static>> {
        Vec::new()
    }
}
