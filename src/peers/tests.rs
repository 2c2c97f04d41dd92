use super::*;
use crate::data_dir::Settings;
use crate::servers;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store::{Dial, Listen, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server's port with a store behind it; its address and its directory.
async fn server(id: u64) -> (tempfile::TempDir, SocketAddr, Accepted, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let pki = dir.path().join("pki");
    apiserver::pki::open(&pki, &[]).expect("keys");
    let member = members::open(&pki, id).expect("a member");
    let (services, pods) = ("10.96.0.0/16".parse().expect("a range"), "10.244.0.0/16".parse().expect("a range"));
    let settings = Settings::new(dir.path(), services, pods);
    // The port is known only when it is bound.
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let door = servers::Door::open(dir.path(), &settings, &free.to_string(), &member).expect("a door");
    let opens = door.opens_with();
    let accepted = Accepted::listen(free, &member, door).await.expect("listening");
    let store = Store::open(store::Config::new(dir.path().join("store"))).await.expect("a store");
    assert!(opens.set(store.clone()).is_ok());
    (dir, free, accepted, store)
}

#[tokio::test]
async fn members_talk_and_others_are_left_outside() {
    let (dir, address, mut accepted, store) = server(1).await;
    let ours = members::open(&dir.path().join("pki"), 1).expect("a member");
    let serving = tokio::spawn(async move {
        let mut stream = accepted.accept().await.expect("a member");
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.expect("a word");
        stream.write_all(&heard).await.expect("answered");
        stream.flush().await.expect("sent");
        (heard, accepted)
    });
    let foreign = tempfile::tempdir().expect("a directory");
    let stranger = members::open(foreign.path(), 1).expect("a member of another cluster");
    assert!(Dialer::new(&stranger).expect("a dialer").dial(address.to_string()).await.is_err());

    // Of the right authority, but without a certificate of its own.
    let mut config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(roots(&ours).expect("roots"))
        .with_no_client_auth();
    config.alpn_protocols = vec![MEMBERS.to_vec()];
    let socket = TcpStream::connect(address).await.expect("connected");
    let mut nameless = TlsConnector::from(Arc::new(config)).connect(member_name(), socket).await.expect("a handshake");
    assert!(!matches!(nameless.read(&mut [0]).await, Ok(1..)), "it is closed without a word");

    let mut stream = Dialer::new(&ours).expect("a dialer").dial(address.to_string()).await.expect("a member");
    stream.write_all(b"hello").await.expect("sent");
    stream.flush().await.expect("sent");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!((&answer, &serving.await.expect("served").0), (b"hello", b"hello"));
    store.close().await.expect("closed");
}

fn change(file: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut token = serde_json::from_slice(&std::fs::read(file).expect("a token")).expect("JSON");
    change(&mut token);
    std::fs::write(file, token.to_string()).expect("written");
}

#[tokio::test]
async fn the_keys_are_given_for_the_whole_token_only() {
    let (dir, _, _accepted, store) = server(1).await;
    let token = dir.path().join("server.token");
    let mode = std::fs::metadata(&token).expect("a token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let welcome = servers::ask(&token).await.expect("let in");
    let joined = tempfile::tempdir().expect("a directory");
    let place = welcome.adopt(joined.path(), 2380).expect("adopted");
    assert!(place.id > 1);
    for name in ["ca.crt", "sa.key", "store-ca.key"] {
        let [theirs, ours] = [&dir, &joined].map(|dir| std::fs::read(dir.path().join("pki").join(name)).expect(name));
        assert_eq!(theirs, ours, "{name}");
    }
    members::open(&joined.path().join("pki"), place.id).expect("a member with a certificate of its own");

    let copy = joined.path().join("token");
    let changed = |what: &str, to: &str| {
        std::fs::copy(&token, &copy).expect("copied");
        change(&copy, |token| token[what] = to.into());
        servers::ask(&copy)
    };
    let error = changed("secret", "00").await.err().expect("refused");
    assert!(format!("{error:#}").contains("secret"), "{error:#}");
    let error = changed("authority", "sha256:00").await.err().expect("not believed");
    assert!(format!("{error:#}").contains("not of the cluster"), "{error:#}");
    std::fs::copy(&token, &copy).expect("copied");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).expect("set");
    let error = servers::ask(&copy).await.err().expect("not read");
    assert!(format!("{error:#}").contains("chmod 600"), "{error:#}");
    store.close().await.expect("closed");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_both_ends() {
    let (dir, address, mut accepted, store) = server(1).await;
    let pki = dir.path().join("pki");
    let dialer = Dialer::new(&members::open(&pki, 1).expect("a member")).expect("a dialer");
    let talk = async |dialer: &Dialer, accepted: &mut Accepted| {
        let (dialled, taken) = tokio::join!(dialer.dial(address.to_string()), accepted.accept());
        (dialled.expect("dialled"), taken.expect("taken"))
    };
    let (mut old, mut theirs) = talk(&dialer, &mut accepted).await;
    // As when it was due: another certificate of the same authority.
    std::fs::remove_file(pki.join("store-member.pem")).expect("removed");
    let renewed = members::open(&pki, 1).expect("a member");
    let serial = |acceptor: &ArcSwap<TlsAcceptor>| Arc::as_ptr(acceptor.load().config());
    let before = serial(&accepted.acceptor);
    show(&renewed, &accepted.acceptor, &dialer).expect("shown");
    assert_ne!(serial(&accepted.acceptor), before);
    let _new = talk(&dialer, &mut accepted).await;
    old.write_all(b"still").await.expect("sent");
    old.flush().await.expect("sent");
    let mut heard = [0; 5];
    theirs.read_exact(&mut heard).await.expect("the old connection stands");
    assert_eq!(&heard, b"still");
    store.close().await.expect("closed");
}
