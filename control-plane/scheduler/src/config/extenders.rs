//! `extenders` of a configuration: servers that have a say beside the plugins.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Refused, read, refuse};
use crate::extender::TIMEOUT;

/// How an extender is reached, and for what.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtenderConfig {
    pub url_prefix: String,
    #[serde(default)]
    pub filter_verb: Option<String>,
    #[serde(default)]
    pub preempt_verb: Option<String>,
    #[serde(default)]
    pub prioritize_verb: Option<String>,
    /// What its scores count.
    #[serde(default)]
    pub weight: i64,
    #[serde(default)]
    pub bind_verb: Option<String>,
    #[serde(default, rename = "enableHTTPS")]
    pub enable_https: bool,
    #[serde(default, rename = "tlsConfig")]
    pub tls: Tls,
    #[serde(default = "timeout", deserialize_with = "duration")]
    pub http_timeout: Duration,
    /// It knows the nodes: their names are enough.
    #[serde(default)]
    pub node_cache_capable: bool,
    /// It is asked only about pods that want one of these; about all where there are none.
    #[serde(default)]
    pub managed_resources: Vec<Managed>,
    /// Pods are scheduled also while it does not answer.
    #[serde(default)]
    pub ignorable: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Managed {
    pub name: String,
    #[serde(default)]
    pub ignored_by_scheduler: bool,
}

/// Certificates and keys as files, or as PEM in base64, which goes first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    #[serde(default)]
    pub insecure: bool,
    pub server_name: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    pub ca_file: Option<String>,
    pub cert_data: Option<String>,
    pub key_data: Option<String>,
    pub ca_data: Option<String>,
}

impl ExtenderConfig {
    /// Where it is; TLS that is asked for goes before what the prefix says.
    pub(crate) fn url(&self) -> String {
        match self.url_prefix.strip_prefix("http://") {
            Some(rest) if self.enable_https => format!("https://{rest}"),
            _ => self.url_prefix.clone(),
        }
    }

    /// The resources that plugins do not look at, for this extender does.
    pub(crate) fn resources_left_to_it(&self) -> impl Iterator<Item = &str> {
        self.managed_resources
            .iter()
            .filter(|managed| managed.ignored_by_scheduler)
            .map(|managed| managed.name.as_str())
    }

    fn check(&self, at: &str) -> Result<(), Refused> {
        if !self.url_prefix.starts_with("http://") && !self.url_prefix.starts_with("https://") {
            return refuse(&format!("{at}.urlPrefix"), "must begin with http:// or https://");
        }
        if self.prioritize_verb.is_some() && self.weight <= 0 {
            return refuse(&format!("{at}.weight"), "must be positive where there is a prioritizeVerb");
        }
        if self.http_timeout.is_zero() {
            return refuse(&format!("{at}.httpTimeout"), "must be positive");
        }
        if self.tls.insecure && (self.tls.ca_file.is_some() || self.tls.ca_data.is_some()) {
            return refuse(&format!("{at}.tlsConfig"), "has an authority and is insecure: one of them only");
        }
        Ok(())
    }
}

pub(super) fn read_all(values: Vec<Value>) -> Result<Vec<ExtenderConfig>, Refused> {
    let mut all: Vec<ExtenderConfig> = vec![];
    for (nth, value) in values.into_iter().enumerate() {
        let at = format!("extenders[{nth}]");
        let mut extender: ExtenderConfig = read(&at, value)?;
        extender.check(&at)?;
        // An empty verb is none, as upstream.
        for verb in [
            &mut extender.filter_verb,
            &mut extender.preempt_verb,
            &mut extender.prioritize_verb,
            &mut extender.bind_verb,
        ] {
            *verb = verb.take().filter(|verb| !verb.is_empty());
        }
        all.push(extender);
    }
    match all.iter().filter(|extender| extender.bind_verb.is_some()).count() {
        0 | 1 => Ok(all),
        more => refuse("extenders", format_args!("{more} of them bind; one may")),
    }
}

fn timeout() -> Duration {
    TIMEOUT
}

/// A time as Go writes it, such as `1m30s` or `500ms`; 0 means the default, as upstream.
fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| serde::de::Error::custom(format!("{text:?} is no time such as \"5s\"")))?;
    let span = Duration::try_from(span).map_err(|_| serde::de::Error::custom("must not be negative"))?;
    Ok(if span.is_zero() { TIMEOUT } else { span })
}
