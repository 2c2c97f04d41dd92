//! Log lines on standard error, as text or JSON.

use crate::cli::{Log, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// openraft warns of every message that a dead peer does not get, and calls a change of the members that waits for another
/// one an error; what matters of both is said by the store.
pub const DEFAULT: &str = "warn,openraft=error,openraft::raft::api::management=off";

/// Installs the one subscriber of the process. A filter that cannot be read is reported and replaced by `warn`.
pub fn init(log: &Log) {
    let filter = EnvFilter::try_new(&log.log).unwrap_or_else(|error| {
        eprintln!("wherry: --log {:?} cannot be read ({error}); logging warnings", log.log);
        EnvFilter::new("warn")
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.log_format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
