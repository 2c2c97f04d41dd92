//! The only calls the server makes out: to kubelets (logs, exec), webhooks and aggregated APIs.

use crate::{Config, Error, pki::Pki};

pub(crate) struct Outbound {}

impl Outbound {
    pub(crate) fn open(_config: &Config, _pki: &Pki) -> Result<Outbound, Error> {
        Ok(Outbound {})
    }
}
