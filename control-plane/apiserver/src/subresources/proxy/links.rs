//! A link that points to the proxied host, as one that leads through the proxy.

/// Where links lead.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// The path of the proxy: `/api/v1/namespaces/NS/services/NAME/proxy`.
    prefix: String,
    /// The peer as we call it, and the host that the client named: to a page both are its own.
    peer: String,
    client: String,
}

impl Links {
    pub(super) fn new(prefix: &str, peer: &str, client: &str) -> Links {
        Links { prefix: prefix.to_owned(), peer: peer.to_owned(), client: client.to_owned() }
    }

    /// The link through the proxy; `None` where it is right as it is: relative, or to somebody else.
    pub(super) fn rewrite(&self, link: &str) -> Option<String> {
        let (origin, path) = parts(link)?;
        let host = origin.rsplit_once("//").map_or("", |(_, host)| host);
        if !path.starts_with('/') || !(host.is_empty() || host == self.peer || host == self.client) {
            return None;
        }
        // The client reaches its own host as it did; of the peer's it knows nothing.
        let origin = if host == self.client { origin } else { "" };
        let there =
            path.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        let prefix = if there { "" } else { self.prefix.as_str() };
        let link = format!("{origin}{prefix}{path}");
        Some(link)
    }
}

/// `scheme://host` (or `//host`, or nothing) and the path with what follows it. `None` where a scheme has no host, as
/// `mailto:` and `javascript:`, or the host carries a user.
fn parts(link: &str) -> Option<(&str, &str)> {
    let scheme = link.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'));
    let after = match scheme {
        Some(at) if at > 0 && link[at..].starts_with(':') => at + 1,
        _ => 0,
    };
    let Some(host) = link[after..].strip_prefix("//") else {
        return (after == 0).then_some(("", link));
    };
    let start = link.len() - host.len();
    let end = host.find(['/', '?', '#']).map_or(link.len(), |at| start + at);
    (!link[start..end].contains('@')).then(|| link.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_same_host_stay_below_the_proxy() {
        let links = Links::new("/p/proxy", "10.0.0.1:80", "localhost:8001");
        for (link, expected) in [
            ("/a", Some("/p/proxy/a")),
            ("/", Some("/p/proxy/")),
            ("/a/?x=/b#/c", Some("/p/proxy/a/?x=/b#/c")),
            ("/p/proxy/a", Some("/p/proxy/a")),
            ("/p/proxy", Some("/p/proxy")),
            ("/p/proxyother", Some("/p/proxy/p/proxyother")),
            ("http://10.0.0.1:80/a", Some("/p/proxy/a")),
            ("//10.0.0.1:80/a", Some("/p/proxy/a")),
            ("http://localhost:8001/a", Some("http://localhost:8001/p/proxy/a")),
            ("http://localhost:8001/p/proxy/a", Some("http://localhost:8001/p/proxy/a")),
            ("a", None),
            ("../a", None),
            ("?a=b", None),
            ("#a", None),
            ("", None),
            ("http://example.com/a", None),
            ("//example.com/a", None),
            ("http://10.0.0.1:80", None),
            ("http://u@10.0.0.1:80/a", None),
            ("mailto:a@b.c", None),
            ("javascript:/a/", None),
            ("data:text/html,/a", None),
            (":", None),
        ] {
            assert_eq!(links.rewrite(link).as_deref(), expected, "{link}");
        }
    }
}
