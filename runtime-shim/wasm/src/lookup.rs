//! `wasi:sockets/ip-name-lookup` by the pod's own resolver instead of the node's.

use crate::guest::ComponentGuest;
use crate::resolve::{Failure, Resolver};
use std::net::IpAddr;
use std::sync::Arc;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    self, Host, HostResolveAddressStream, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, HostNetwork, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, subscribe};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

/// Replaces the lookup that `wasmtime-wasi` put into the linker; shadowing must be allowed.
pub fn add_to_linker(linker: &mut Linker<ComponentGuest>) -> wasmtime::Result<()> {
    ip_name_lookup::add_to_linker::<_, HasLookup>(linker, |guest| {
        let resolver = guest.resolver().clone();
        Lookup { table: &mut guest.table, resolver }
    })
}

struct HasLookup;

impl HasData for HasLookup {
    type Data<'a> = Lookup<'a>;
}

struct Lookup<'a> {
    table: &'a mut ResourceTable,
    resolver: Arc<Resolver>,
}

/// What our handles of `resolve-address-stream` stand for. The guest's handle has wasmtime-wasi's type, which cannot be
/// made outside of it, so the type is changed on the way in and out; the number in the table is the same.
enum Answers {
    Pending(AbortOnDropJoinHandle<Result<Vec<IpAddr>, Failure>>),
    Ready(Result<std::vec::IntoIter<IpAddr>, Failure>),
}

#[async_trait::async_trait]
impl Pollable for Answers {
    async fn ready(&mut self) {
        if let Answers::Pending(task) = self {
            *self = Answers::Ready(task.await.map(Vec::into_iter));
        }
    }
}

fn ours(handle: &Resource<ResolveAddressStream>) -> Resource<Answers> {
    Resource::new_borrow(handle.rep())
}

impl Host for Lookup<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        self.table.get(&network)?;
        let resolver = self.resolver.clone();
        let task = wasmtime_wasi::runtime::spawn(async move { resolver.lookup(&name).await });
        let handle = self.table.push(Answers::Pending(task))?;
        Ok(Resource::new_own(handle.rep()))
    }
}

impl HostResolveAddressStream for Lookup<'_> {
    fn resolve_next_address(
        &mut self,
        handle: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        let answers = self.table.get_mut(&ours(&handle))?;
        if let Answers::Pending(task) = answers {
            let Some(result) = wasmtime_wasi::runtime::poll_noop(std::pin::Pin::new(task)) else {
                return Err(ErrorCode::WouldBlock.into());
            };
            *answers = Answers::Ready(result.map(Vec::into_iter));
        }
        let Answers::Ready(result) = answers else { return Err(ErrorCode::WouldBlock.into()) };
        match result {
            Ok(addresses) => Ok(addresses.next().map(address)),
            Err(Failure::NoSuchName) => Err(ErrorCode::NameUnresolvable.into()),
            Err(Failure::Invalid) => Err(ErrorCode::InvalidArgument.into()),
            Err(Failure::Timeout | Failure::Refused) => Err(ErrorCode::TemporaryResolverFailure.into()),
        }
    }

    fn subscribe(&mut self, handle: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours(&handle))
    }

    fn drop(&mut self, handle: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Answers>::new_own(handle.rep()))?;
        Ok(())
    }
}

fn address(address: IpAddr) -> IpAddress {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            IpAddress::Ipv4((a, b, c, d))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments();
            IpAddress::Ipv6((a, b, c, d, e, f, g, h))
        }
    }
}

// The lookup's errors are of the network interface, whose host it must therefore be too.
impl network::Host for Lookup<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, _error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(None)
    }
}

impl HostNetwork for Lookup<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}
