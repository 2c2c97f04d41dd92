//! A network in memory: it delays, loses, duplicates and reorders messages, and is cut between members, both ways or
//! one way.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::Chance;
use super::clock::{self, Clock};
use crate::store::Serve;
use crate::wire::{Answer, Wire};

#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

struct State {
    members: BTreeMap<String, Reached>,
    cut: BTreeSet<(String, String)>,
    chance: Chance,
    /// One message in so many is lost, and one in so many comes twice; 0 is none.
    lose: u64,
    double: u64,
    messages: u64,
}

/// Who answers, by the member's own clock.
type Reached = (Arc<dyn Answer>, Option<Arc<Clock>>);

/// One member's way to the others.
struct From {
    net: Net,
    address: String,
}

impl Net {
    pub fn new(seed: u64) -> Self {
        let (members, cut) = Default::default();
        Self(Arc::new(Mutex::new(State { members, cut, chance: Chance::new(seed), lose: 0, double: 0, messages: 0 })))
    }

    pub fn wire(&self, address: &str) -> Arc<dyn Wire> {
        Arc::new(From { net: self.clone(), address: address.to_owned() })
    }

    pub fn serve(&self, address: &str) -> Serve {
        let (net, address) = (self.clone(), address.to_owned());
        Box::new(move |answer| {
            net.0.lock().members.insert(address, (answer, clock::current()));
            Box::pin(pending())
        })
    }

    pub fn gone(&self, address: &str) {
        self.0.lock().members.remove(address);
    }

    pub fn disturb(&self, lose: u64, double: u64) {
        let mut state = self.0.lock();
        (state.lose, state.double) = (lose, double);
    }

    pub fn cut(&self, from: &str, to: &str) {
        self.0.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    pub fn heal(&self) {
        self.0.lock().cut.clear();
    }

    pub fn messages(&self) -> u64 {
        self.0.lock().messages
    }

    /// Delivers or does not; then whether a copy comes as well.
    async fn travel(&self, from: &str, to: &str) -> bool {
        let (delay, lost, doubled) = {
            let mut state = self.0.lock();
            state.messages += 1;
            let (lose, double) = (state.lose, state.double);
            let mut delay = 200 + state.chance.below(1500);
            if state.chance.one_in(40) {
                delay += state.chance.below(60_000);
            }
            let lost = state.cut.contains(&(from.to_owned(), to.to_owned())) || lose > 0 && state.chance.one_in(lose);
            (delay, lost, double > 0 && state.chance.one_in(double))
        };
        sleep(Duration::from_micros(delay)).await;
        if lost {
            pending::<()>().await;
        }
        doubled
    }
}

impl Wire for From {
    fn call(&self, address: &str, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        let (net, from, to) = (self.net.clone(), self.address.clone(), address.to_owned());
        Box::pin(async move {
            let doubled = net.travel(&from, &to).await;
            let member = net.0.lock().members.get(&to).cloned();
            let member = member.ok_or(io::ErrorKind::ConnectionRefused)?;
            if doubled {
                let (net, from, to) = (net.clone(), from.clone(), to.clone());
                let (member, request) = (member.clone(), request.clone());
                tokio::spawn(async move {
                    net.travel(&from, &to).await;
                    drop(answer(member, request).await);
                });
            }
            // Carried out whether or not somebody still waits for the answer.
            let answered = tokio::spawn(answer(member, request));
            let answer = answered.await.map_err(io::Error::other)??;
            net.travel(&to, &from).await;
            Ok(answer)
        })
    }
}

async fn answer((member, clock): Reached, request: Bytes) -> io::Result<Bytes> {
    match clock {
        Some(clock) => clock.scope(member.answer(request)).await,
        None => member.answer(request).await,
    }
}
