//! What a registry answers when an image is pulled: challenges, tokens, manifests, indexes, layers. The image is whole or
//! refused, and nothing is written beside the store.
#![no_main]

use cri::images::{Auth, Mirrors, Store, pull};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The parts of an input: a challenge, a token, a manifest or an index, and what blobs hold.
const CUT: u8 = 1;

struct Registry {
    address: SocketAddr,
    /// Each answer that it can give.
    challenge: Vec<u8>,
    token: Vec<u8>,
    document: Vec<u8>,
    blob: Vec<u8>,
}

impl Registry {
    fn new(bytes: &[u8], address: SocketAddr) -> Registry {
        let mut parts = bytes.splitn(4, |b| *b == CUT).map(<[u8]>::to_vec);
        let mut next = || parts.next().unwrap_or_default();
        let own = address.to_string();
        let challenge = String::from_utf8_lossy(&next()).replace("REGISTRY", &own);
        let challenge =
            challenge.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect::<String>().into_bytes();
        Registry { address, challenge, token: next(), document: next(), blob: next() }
    }

    /// Blobs that a right manifest names.
    fn manifest(&self, digest: &str) -> Vec<u8> {
        let blob = serde_json::json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": self.blob.len()});
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": blob, "layers": [blob]});
        manifest.to_string().into_bytes()
    }

    /// The status, a header and the body for a request.
    fn answer(&self, request: &str, digest: &str) -> (u16, Vec<u8>, Vec<u8>) {
        let path = request.split(' ').nth(1).unwrap_or("");
        let asked = request.to_ascii_lowercase().contains("authorization:");
        if path.contains("token") {
            (200, Vec::new(), self.token.clone())
        } else if !self.challenge.is_empty() && !asked {
            (401, [b"www-authenticate: ", self.challenge.as_slice(), b"\r\n"].concat(), b"{}".to_vec())
        } else if path.contains("/blobs/") {
            (200, Vec::new(), self.blob.clone())
        } else if path.contains("/manifests/") && self.document.is_empty() {
            (200, Vec::new(), self.manifest(digest))
        } else if path.contains("/manifests/") {
            (200, b"content-type: application/vnd.oci.image.index.v1+json\r\n".to_vec(), self.document.clone())
        } else {
            (200, Vec::new(), b"{}".to_vec())
        }
    }

    async fn serve(&self, mut stream: TcpStream, digest: &str) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() < 1 << 16 {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let (status, header, body) = self.answer(&String::from_utf8_lossy(&head), digest);
        let start = format!("HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        stream.write_all(&[start.as_bytes(), &header, b"\r\n", &body].concat()).await?;
        stream.shutdown().await
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The one that is there already is as good.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path().join("store")).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let registry = Registry::new(bytes, listener.local_addr().expect("an address"));
        // The store names content as a registry does.
        let digest = store.put(&registry.blob).expect("stored");
        let name = format!("{}/a:1", registry.address);
        let serving = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let _ = registry.serve(stream, &digest).await;
                }
            }
        };
        let (auth, mirrors) =
            (Auth { username: "u".into(), password: "p".into(), ..Auth::default() }, Mirrors::default());
        let pulled = tokio::select! {
            pulled = pull(&store, &name, &auth, &mirrors, &|_| {}) => pulled,
            () = serving => unreachable!("it serves for ever"),
        };
        if let Ok(digest) = pulled {
            assert!(store.manifest(&digest).is_ok(), "what was pulled can be read");
        }
    });
    assert_eq!(std::fs::read_dir(dir.path()).expect("the directory").count(), 1, "something is beside the store");
});
