//! A plugin that writes down what it is asked, and answers as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use scheduler::PodInfo;
use scheduler::framework::{Binding, Bound, Objection, Permission, Point, WaitingPods};
use scheduler::plugins::Plugin;
use tokio::sync::mpsc;

/// What does not happen within this time does not happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happens, line by line.
#[derive(Clone)]
pub struct Log {
    write: mpsc::UnboundedSender<String>,
    read: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Default for Log {
    fn default() -> Log {
        let (write, read) = mpsc::unbounded_channel();
        Log { write, read: Arc::new(tokio::sync::Mutex::new(read)), seen: Arc::default() }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    pub fn write(&self, line: String) {
        self.seen.lock().unwrap().push(line.clone());
        let _ = self.write.send(line);
    }

    /// Everything up to this line.
    pub async fn until(&self, line: &str) -> Vec<String> {
        self.until_any(&[], |seen| seen == line).await
    }

    /// The same unless it is among the lines already.
    pub async fn until_seen(&self, lines: &[String], line: &str) {
        self.until_any(lines, |seen| seen == line).await;
    }

    pub async fn until_any(&self, lines: &[String], is: impl Fn(&str) -> bool) -> Vec<String> {
        let (mut read, mut more) = (self.read.lock().await, vec![]);
        while !lines.iter().chain(&more).any(|line| is(line)) {
            let next = tokio::time::timeout(PATIENCE, read.recv()).await;
            match next {
                Ok(Some(line)) => more.push(line),
                _ => panic!("it never happened; all that did: {:#?}", self.seen.lock().unwrap()),
            }
        }
        more
    }
}

pub fn without_events(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| !line.starts_with("event ")).collect()
}

#[derive(Debug)]
pub struct Spy {
    pub name: &'static str,
    pub points: &'static [Point],
    pub log: Log,
    pub reserve: fn(&str) -> Result<(), Objection>,
    pub permit: fn(&str) -> Result<Permission, Objection>,
    pub pre_bind: fn(&str) -> Result<(), Objection>,
    pub bind: fn(&str) -> Result<Bound, Objection>,
    /// Who is let go at once takes those along that wait.
    pub allows_all: bool,
}

impl Spy {
    pub fn new(name: &'static str, points: &'static [Point], log: &Log) -> Spy {
        Spy {
            name,
            points,
            log: log.clone(),
            reserve: |_| Ok(()),
            permit: |_| Ok(Permission::Granted),
            pre_bind: |_| Ok(()),
            bind: |_| Ok(Bound::Skipped),
            allows_all: false,
        }
    }

    fn note<'a>(&self, what: &str, pod: &'a PodInfo, node: &str) -> &'a str {
        let name = pod.pod.metadata.name.as_deref().unwrap();
        self.log.write(format!("{} {what} {name} {node}", self.name));
        name
    }
}

impl Plugin for Spy {
    fn name(&self) -> &'static str {
        self.name
    }

    fn points(&self) -> &'static [Point] {
        self.points
    }

    fn reserve(&self, pod: &PodInfo, node: &str) -> Result<(), Objection> {
        (self.reserve)(self.note("reserve", pod, node))
    }

    fn unreserve(&self, pod: &PodInfo, node: &str) {
        self.note("unreserve", pod, node);
    }

    fn permit(&self, pod: &PodInfo, node: &str, waiting: &WaitingPods) -> Result<Permission, Objection> {
        let permission = (self.permit)(self.note("permit", pod, node));
        if self.allows_all && permission == Ok(Permission::Granted) {
            waiting.all().iter().for_each(|other| waiting.allow(other.pod.uid(), self.name));
        }
        permission
    }

    fn pre_bind<'a>(&'a self, binding: Binding<'a>) -> BoxFuture<'a, Result<(), Objection>> {
        Box::pin(async move { (self.pre_bind)(self.note("pre_bind", binding.pod, binding.node)) })
    }

    fn bind<'a>(&'a self, binding: Binding<'a>) -> BoxFuture<'a, Result<Bound, Objection>> {
        Box::pin(async move { (self.bind)(self.note("bind", binding.pod, binding.node)) })
    }

    fn post_bind(&self, pod: &PodInfo, node: &str) {
        self.note("post_bind", pod, node);
    }
}
