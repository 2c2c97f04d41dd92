//! `wasi:http` guests in pods with their own network namespaces.

use crate::harness::{HELLO, Netns, Node, PATIENCE, env, eventually, root, stdio, tcp};
use container::{Error, ExecSpec, Executor as _, Resources, Sandbox, Spec};
use std::io::{Read, Write};
use std::sync::Arc;

/// The example with another body of its handler.
fn handler(body: &str) -> String {
    let head = "(func (export \"handle\") (param $request i32) (param $out i32)";
    assert!(HELLO.contains(head));
    HELLO.replace(head, &format!("{head} {body})\n    (func (export \"former\") (param $request i32) (param $out i32)"))
}

fn in_pod(mut spec: Spec, netns: &Netns) -> Spec {
    let sandbox = Sandbox { netns: Some(netns.0.clone()), ..(*spec.sandbox).clone() };
    spec.sandbox = Arc::new(sandbox);
    spec
}

#[tokio::test]
async fn two_pods_listen_on_the_same_port_and_each_answers_in_its_own_namespace() {
    if !root() {
        return;
    }
    let node = Node::new();
    let (one, two) = (Netns::new(&node, "one"), Netns::new(&node, "two"));
    let mut first = in_pod(node.spec("one", HELLO), &one);
    first.env = vec![env("GREETING", "I am one")];
    let mut second = in_pod(node.spec("two", HELLO), &two);
    second.env = vec![env("OTHER", "x"), env("GREETING", &"long ".repeat(2000))];
    node.run(&first).await;
    node.run(&second).await;
    let answer = one.get(8080, "/").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("I am one\n"), "{answer}");
    // HTTP/1.0 has no Host; a request of HTTP/1.1 without one is wrong.
    let old = one.send(8080, "GET / HTTP/1.0\r\n\r\n".into()).unwrap();
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
    let wrong = one.send(8080, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".into()).unwrap();
    assert!(wrong.starts_with("HTTP/1.1 400 ") && wrong.contains("names no Host"), "{wrong}");
    assert!(two.get(8080, "/any").unwrap().len() > 10_000);
    assert_eq!(node.executor.stats("one").await.unwrap().usage_bytes, 0, "ready with zero instances");
    assert!(node.executor.stats("one").await.unwrap().cpu_ns > 0);

    let exec = ExecSpec { command: vec!["sh".into()], tty: false };
    let (streams, _out, _err) = stdio(None);
    let Err(Error::Unsupported(message)) = node.executor.exec("one", &exec, streams).await else { panic!("exec ran") };
    assert!(message.contains("without a command world"), "{message}");

    let mut third = in_pod(node.spec("third", HELLO), &one);
    third.ports = vec![tcp(8080)];
    node.executor.create(&third).await.unwrap();
    let Err(Error::Invalid(message)) = node.executor.start("third").await else { panic!("two listen on one port") };
    assert!(message.contains("port 8080 is taken"), "{message}");
    node.executor.delete("third").await.unwrap();

    node.executor.kill("one", 15).await.unwrap();
    let exit = node.exit("one").await;
    assert_eq!((exit.code, exit.reason.as_str()), (0, "Completed"));
    assert!(one.get(8080, "/").is_err(), "the port is free again");
    node.executor.close_sandbox("pod-two").await.unwrap();
    assert_eq!(node.exit("two").await.code, 137);
}

#[tokio::test]
async fn a_request_that_fails_fails_alone() {
    if !root() {
        return;
    }
    let node = Node::new();
    let netns = Netns::new(&node, "fail");
    let trap = handler("unreachable");
    let mut spec = in_pod(node.spec("trap", &trap), &netns);
    spec.ports = vec![tcp(81)];
    node.run(&spec).await;
    for _ in 0..2 {
        let answer = netns.get(81, "/").unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("ended without an answer"), "{answer}");
    }
    eventually("why the request failed", async || node.log("trap").contains("unreachable")).await;

    let hog = handler("(loop $more (drop (call $grow)) (br $more))").replace(
        "(func (export \"realloc\")",
        "(func (export \"grow\") (result i32) (memory.grow (i32.const 16))) (func (export \"realloc\")",
    );
    let hog = hog.replace(
        "(import \"host\" \"memory\" (memory 1))",
        "(import \"host\" \"memory\" (memory 1)) (import \"host\" \"grow\" (func $grow (result i32)))",
    );
    let hog = hog.replace(
        "(export \"memory\" (memory $mem))",
        "(export \"memory\" (memory $mem)) (export \"grow\" (func $grow))",
    );
    let hog = hog.replace(
        "(alias core export $memory \"realloc\" (core func $realloc))",
        "(alias core export $memory \"realloc\" (core func $realloc)) (alias core export $memory \"grow\" (core func $grow))",
    );
    let mut spec = in_pod(node.spec("hog", &hog), &netns);
    spec.ports = vec![tcp(82)];
    spec.resources = Resources { memory_limit_bytes: 16 << 20, ..Resources::default() };
    node.run(&spec).await;
    assert!(netns.get(82, "/").unwrap().starts_with("HTTP/1.1 500 "));
    eventually("why the request failed", async || node.log("hog").contains("limit is 16777216")).await;
    eventually("no memory in use", async || node.executor.stats("hog").await.unwrap().usage_bytes == 0).await;
}

#[tokio::test]
async fn a_looping_request_stops_nobody_and_ends_with_its_client_or_by_sigkill() {
    if !root() {
        return;
    }
    let node = Node::new();
    let netns = Netns::new(&node, "loop");
    let mut looping = in_pod(node.spec("loop", &handler("(loop $for-ever (br $for-ever))")), &netns);
    looping.ports = vec![tcp(81)];
    node.run(&looping).await;
    node.run(&in_pod(node.spec("good", HELLO), &netns)).await;
    let hang = || {
        netns.inside(|| {
            let mut stream = std::net::TcpStream::connect("127.0.0.1:81").unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n").unwrap();
            stream
        })
    };
    let clients: Vec<_> = (0..4).map(|_| hang()).collect();
    for _ in 0..10 {
        assert!(netns.get(8080, "/").unwrap().contains("Hello from WebAssembly"));
    }
    drop(clients);
    // Without a client no instance is left, so a drain has nothing to wait for but the one that comes now.
    let mut client = hang();
    node.executor.kill("loop", 15).await.unwrap();
    node.executor.kill("loop", 9).await.unwrap();
    assert_eq!(node.exit("loop").await.code, 137);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    // Whichever comes first: the connection is closed, or its request has failed.
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 500 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn http2_without_tls_is_spoken_too() {
    if !root() {
        return;
    }
    let node = Node::new();
    let netns = Netns::new(&node, "h2");
    node.run(&in_pod(node.spec("h2", HELLO), &netns)).await;
    let stream = netns.inside(|| std::net::TcpStream::connect("127.0.0.1:8080").unwrap());
    stream.set_nonblocking(true).unwrap();
    let stream = hyper_util::rt::TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let body = http_body_util::Empty::<bytes::Bytes>::new();
        let request = http::Request::post("http://pod/").body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, "Hello from WebAssembly\n");
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_serves_who_has_connected_before_it() {
    if !root() {
        return;
    }
    let node = Node::new();
    let netns = Netns::new(&node, "drain");
    node.run(&in_pod(node.spec("drain", HELLO), &netns)).await;
    for _ in 0..20 {
        let mut streams: Vec<_> = netns.inside(|| {
            let connect = |_| {
                let mut stream = std::net::TcpStream::connect("127.0.0.1:8080").unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n").unwrap();
                stream
            };
            (0..20).map(connect).collect()
        });
        node.executor.kill("drain", 15).await.unwrap();
        for stream in &mut streams {
            let mut answer = String::new();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        }
        assert_eq!(node.exit("drain").await.code, 0);
        node.executor.delete("drain").await.unwrap();
        node.run(&in_pod(node.spec("drain", HELLO), &netns)).await;
    }
}
