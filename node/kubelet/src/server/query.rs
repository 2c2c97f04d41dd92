//! The words of a stream's query. Nothing but text comes in, and a fuzz target is made of this file alone.

/// All values of a key, in both spellings that clients of kubelet and apiserver use.
pub fn values(query: &str, names: &[&str]) -> Vec<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(k, _)| names.contains(&k.as_ref()))
        .map(|(_, v)| v.into_owned())
        .collect()
}

pub fn on(query: &str, names: &[&str]) -> bool {
    values(query, names).iter().any(|v| v == "1" || v == "true")
}

/// `ports=80,81` and `port=80&port=81` both occur; a SPDY client names them later, in its stream headers.
pub fn ports(query: &str) -> Option<Vec<i32>> {
    let named = values(query, &["port", "ports"]);
    let ports = named.iter().flat_map(|v| v.split(',')).map(|port| port.parse::<u16>().ok().map(i32::from));
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_or_refused() {
        assert_eq!(values("command=a&x=1&command=b%20c", &["command"]), ["a", "b c"]);
        assert!(on("stdin=true", &["input", "stdin"]) && on("input=1", &["input"]) && !on("tty=0", &["tty"]));
        for (query, wanted) in [
            ("", Some(vec![])),
            ("ports=80,81&port=82", Some(vec![80, 81, 82])),
            ("port=x", None),
            ("port=-1", None),
            ("port=65536", None),
        ] {
            assert_eq!(ports(query), wanted, "{query:?}");
        }
    }
}
