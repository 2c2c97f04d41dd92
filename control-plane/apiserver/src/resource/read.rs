//! Get and list.

use super::Call;
use super::selection::{self, Selection};
use crate::cache::Entry;
use crate::registry::options::{self, ListOptions, Match};
use crate::registry::{not_found, prefix, store_status};
use crate::respond;
use crate::server::Body;
use crate::shape::ListMeta;
use api::kind::Scope;
use api::{Map, Status, Value};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use std::sync::Arc;

/// Keys read at once from the store for a page with selectors, so that a rare match costs few rounds.
const STORE_PAGE: usize = 500;

pub(super) async fn get(call: &Call<'_>) -> Result<Response<Body>, Status> {
    if call.info.query.has("export") {
        return Err(Status::bad_request("the export parameter, deprecated since v1.14, is no longer supported"));
    }
    let version = options::get_version(&call.info.query)?;
    let registry = &call.ctx.registry;
    if version > registry.storage().revision() {
        registry.caches().at_least(version).await?;
    }
    let found = registry.storage().get_object(&call.kind, call.namespace(), &call.info.name).await?;
    let found = found.ok_or_else(|| not_found(&call.kind, &call.info.name))?;
    let key = crate::registry::below(&call.kind, call.namespace(), &call.info.name);
    let cached = registry.caches().entry(&prefix(&call.kind), key.as_bytes(), found.revision);
    let entry = cached.unwrap_or_else(|| Arc::new(Entry::new(key.into(), found.value, found.revision)));
    Ok(respond::encoded(200, &call.accept, call.shown().object(&entry)?))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let (options, selection) = selection::asked(&call.kind, call.info, false)?;
    let (entries, meta) = page(call, &options, &selection).await?;
    Ok(respond::chunks(200, &call.accept, call.shown().list(entries, &meta)?))
}

/// The part of the kind's keys that a request is about: `NAMESPACE/`, or all.
pub(super) fn below(call: &Call<'_>) -> String {
    match call.kind.scope {
        Scope::Namespaced if !call.info.namespace.is_empty() => format!("{}/", call.info.namespace),
        Scope::Namespaced | Scope::Cluster => String::new(),
    }
}

/// The objects that a list shows.
pub(super) async fn page(
    call: &Call<'_>,
    options: &ListOptions,
    selection: &Selection,
) -> Result<(Vec<Arc<Entry>>, ListMeta), Status> {
    if !options.continues.is_empty() {
        let token = Token::parse(&options.continues)?;
        if options.versioned {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let revision = token.revision.unwrap_or_else(|| call.ctx.registry.storage().revision());
        return stored_page(call, options, selection, &token.start, revision, true).await;
    }
    match (options.resource_version, options.version_match) {
        (Some(version), Match::Exact) => past_page(call, options, selection, version).await,
        (Some(version), Match::Unset) if version > 0 && options.limit > 0 => {
            past_page(call, options, selection, version).await
        }
        (version, _) => cached_page(call, options, selection, version).await,
    }
}

/// A list of what the cache holds, at least as new as asked; the newest where nothing is asked.
async fn cached_page(
    call: &Call<'_>,
    options: &ListOptions,
    selection: &Selection,
    version: Option<u64>,
) -> Result<(Vec<Arc<Entry>>, ListMeta), Status> {
    let caches = call.ctx.registry.caches();
    let cache = call.ctx.registry.cache(&call.kind).await?;
    let revision = match version {
        None => caches.newest().await?,
        Some(version) => caches.at_least(version).await?,
    };
    let (mut entries, modified) = cache.select(&selection.place(&call.kind, &below(call)));
    let revision = revision.max(modified);
    entries.retain(|e| selection.takes(&call.kind, e));
    let mut meta = ListMeta { revision, ..ListMeta::default() };
    // As upstream's cache: whoever takes any version gets all of it.
    let limit = if version == Some(0) { 0 } else { options.limit };
    if limit > 0 && entries.len() > limit {
        meta.remaining = selection.is_empty().then_some((entries.len() - limit) as u64);
        entries.truncate(limit);
        let last = entries.last().map(|e| String::from_utf8_lossy(&e.name).into_owned()).unwrap_or_default();
        meta.continues = Token::after(revision, &below(call), &last).text();
    }
    Ok((entries, meta))
}

/// A list as it was at a revision, which may be about to happen.
async fn past_page(
    call: &Call<'_>,
    options: &ListOptions,
    selection: &Selection,
    version: u64,
) -> Result<(Vec<Arc<Entry>>, ListMeta), Status> {
    call.ctx.registry.caches().at_least(version).await?;
    stored_page(call, options, selection, "", version, false).await
}

/// A list at one revision of the near past, from the cache; `None` where that was too long ago.
async fn window_page(
    call: &Call<'_>,
    options: &ListOptions,
    selection: &Selection,
    start: &str,
    revision: u64,
) -> Result<Option<(Vec<Arc<Entry>>, ListMeta)>, Status> {
    if !call.ctx.registry.storage().knows(revision).await {
        return Ok(None);
    }
    let cache = call.ctx.registry.cache(&call.kind).await?;
    call.ctx.registry.caches().at_least(revision).await?;
    // Selectors that no index knows still choose among what is found.
    let most = if selection.is_empty() { options.limit } else { 0 };
    let place = selection.place(&call.kind, &below(call));
    let Some(found) = cache.past(&place, start, most, revision) else { return Ok(None) };
    let (mut entries, mut left) = (found.entries, found.left);
    entries.retain(|e| selection.takes(&call.kind, e));
    if options.limit > 0 && entries.len() > options.limit {
        left = entries.len() - options.limit;
        entries.truncate(options.limit);
    }
    let mut meta = ListMeta { revision, ..ListMeta::default() };
    if left > 0 {
        meta.remaining = selection.is_empty().then_some(left as u64);
        let last = entries.last().map(|e| String::from_utf8_lossy(&e.name).into_owned()).unwrap_or_default();
        meta.continues = Token::after(revision, &below(call), &last).text();
    }
    Ok(Some((entries, meta)))
}

/// A list at one revision of the past, as the cache or the store has it.
async fn stored_page(
    call: &Call<'_>,
    options: &ListOptions,
    selection: &Selection,
    start: &str,
    revision: u64,
    continued: bool,
) -> Result<(Vec<Arc<Entry>>, ListMeta), Status> {
    let storage = call.ctx.registry.storage();
    let prefix = prefix(&call.kind);
    let range = format!("{prefix}{}", below(call));
    let mut from = format!("{range}{start}");
    if let Some(found) = window_page(call, options, selection, &from[prefix.len()..], revision).await? {
        return Ok(found);
    }
    let mut meta = ListMeta { revision, ..ListMeta::default() };
    let mut taken: Vec<Arc<Entry>> = Vec::new();
    let at_once = match (options.limit, selection.is_empty()) {
        (0, _) => 0,
        (limit, true) => limit,
        (limit, false) => limit.max(STORE_PAGE),
    };
    loop {
        let page = storage.page_from(&prefix, &range, &from, Some(revision), at_once).await;
        let page = page.map_err(|e| too_old(&e, &from[range.len()..], continued))?;
        let (mut seen, read) = (0, page.entries.len() as u64);
        for entry in page.entries {
            seen += 1;
            from = format!("{prefix}{}\0", String::from_utf8_lossy(&entry.name));
            // What is still as it was is in the cache with all that was made of it.
            let cached = call.ctx.registry.caches().entry(&prefix, &entry.name, entry.revision);
            let entry = cached.unwrap_or_else(|| Arc::new(entry));
            if selection.takes(&call.kind, &entry) {
                taken.push(entry);
            }
            if options.limit > 0 && taken.len() == options.limit {
                break;
            }
        }
        let left = page.more || seen < read;
        if options.limit > 0 && taken.len() == options.limit && left {
            meta.remaining = selection.is_empty().then_some(page.count.saturating_sub(seen));
            meta.continues = Token { revision: Some(revision), start: from[range.len()..].to_owned() }.text();
        }
        if !page.more || (options.limit > 0 && taken.len() >= options.limit) {
            return Ok((taken, meta));
        }
    }
}

fn too_old(error: &store::Error, start: &str, continued: bool) -> Status {
    match error {
        store::Error::Compacted { .. } if continued => Status {
            continues: Token { revision: None, start: start.to_owned() }.text(),
            ..Status::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new \
                 list without the continue parameter, or use the continue token in this response to retrieve the \
                 remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
                 that were created, modified, or deleted between the time the first chunk was returned and now may show \
                 up in the list.",
            )
        },
        store::Error::Future { asked, newest } => crate::cache::too_large(asked.0, newest.0),
        other => store_status(other),
    }
}

/// The revision in the token of a list that goes on with what is there now.
const NEWEST: i64 = -1;
/// The one form of tokens.
const VERSION: &str = "meta.k8s.io/v1";

/// Where a list goes on.
#[derive(Debug, PartialEq)]
struct Token {
    /// `None` to go on with what is there now.
    revision: Option<u64>,
    /// The first key of the next page, below what the list is about.
    start: String,
}

impl Token {
    /// The token of the page behind a key, which lies `below` what the list is about.
    fn after(revision: u64, below: &str, last: &str) -> Token {
        Token { revision: Some(revision), start: format!("{}\0", last.strip_prefix(below).unwrap_or(last)) }
    }

    fn text(&self) -> String {
        let mut map = Map::new();
        map.insert("v", VERSION);
        let revision = self.revision.map_or(NEWEST, |r| i64::try_from(r).unwrap_or(i64::MAX));
        map.insert("rv", revision);
        map.insert("start", format!("/{}", self.start));
        URL_SAFE_NO_PAD.encode(api::codec::json::encode(&Value::Map(map)))
    }

    fn parse(text: &str) -> Result<Token, Status> {
        let invalid =
            |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| {
            let digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let at = text.find(|c| !digit(c)).unwrap_or(text.len() / 4 * 4);
            invalid(&format!("illegal base64 data at input byte {at}"))
        })?;
        // Who made up a token is told at which character of it.
        let json = String::from_utf8_lossy(&json);
        let value = api::codec::json::decode(json.as_bytes()).map_err(|e| invalid(&e.message))?.value;
        mistyped(&value).map_or(Ok(()), |why| Err(invalid(&why)))?;
        let version = value.get("v").and_then(Value::as_str).unwrap_or("");
        if version != VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version {version}")));
        }
        let revision = match value.get("rv").and_then(Value::as_i64).unwrap_or(0) {
            0 => return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")),
            // Any that is below nought.
            revision => u64::try_from(revision).ok(),
        };
        let start = value.get("start").and_then(Value::as_str).unwrap_or("");
        if start.is_empty() {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        // A token stays below what its list is about.
        let below = start.strip_prefix('/').unwrap_or(start);
        if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(start));
        }
        Ok(Token { revision, start: below.to_owned() })
    }
}

/// What of a token has another type than it must have, in upstream's words.
fn mistyped(token: &Value) -> Option<String> {
    let Value::Map(map) = token else {
        let what = token.json_type();
        return (!token.is_null())
            .then(|| format!("json: cannot unmarshal {what} into Go value of type storage.continueToken"));
    };
    map.iter().find_map(|(key, value)| {
        let (wanted, fits) = match key.as_str() {
            "v" | "start" => ("string", value.as_str().is_some()),
            "rv" => ("int64", value.as_i64().is_some()),
            _ => return None,
        };
        let what = match value {
            Value::Float(number) => format!("number {number}"),
            other => other.json_type().to_owned(),
        };
        (!fits && !value.is_null())
            .then(|| format!("json: cannot unmarshal {what} into Go struct field continueToken.{key} of type {wanted}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back_and_others_refused() {
        for token in [Token::after(7, "a/", "a/b"), Token { revision: None, start: "a".into() }] {
            assert_eq!(Token::parse(&token.text()), Ok(token));
        }
        for (json, why) in [
            (
                r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#,
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (r#"{"v":"meta.k8s.io/v1","rv":1}"#, "encoded start key empty (version meta.k8s.io/v1)"),
            (r#"{"v":"v2","rv":1,"start":"a"}"#, "server does not recognize this encoded version v2"),
            (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../x"}"#, "../x"),
            (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a//b"}"#, "a//b"),
            ("[1]", "json: cannot unmarshal array into Go value of type storage.continueToken"),
            (r#"{"rv":"1"}"#, "json: cannot unmarshal string into Go struct field continueToken.rv of type int64"),
            (r#"{"rv":1.5}"#, "json: cannot unmarshal number 1.5 into Go struct field continueToken.rv of type int64"),
            (r#"{"start":5}"#, "json: cannot unmarshal number into Go struct field continueToken.start of type string"),
        ] {
            let refused = Token::parse(&URL_SAFE_NO_PAD.encode(json)).expect_err(json);
            assert_eq!(refused.message, format!("invalid continue token: continue key is not valid: {why}"));
        }
        for (text, at) in [("%%%", 0), ("YQ==", 2), ("abcde", 4)] {
            let refused = Token::parse(text).expect_err(text);
            assert!(refused.message.ends_with(&format!("illegal base64 data at input byte {at}")), "{refused:?}");
        }
    }

    #[test]
    fn an_expired_list_can_go_on_with_what_is_there() {
        let error = store::Error::Compacted { asked: store::Revision(1), oldest: store::Revision(5) };
        let status = too_old(&error, "a/b\0", true);
        assert_eq!((status.code, status.reason), (410, "Expired"));
        assert_eq!(Token::parse(&status.continues), Ok(Token { revision: None, start: "a/b\0".into() }));
        assert_eq!(status.to_value().at(&["metadata", "continue"]).and_then(Value::as_str), Some(&*status.continues));
        assert!(too_old(&error, "", false).continues.is_empty());
    }
}
