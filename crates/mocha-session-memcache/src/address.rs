//! A server's address as written, and the one machine that it resolves to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mocha_session_core::{BoxFuture, ErrorKind, Result};

use crate::error::{unfit, unsent};

type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// `host:port`, by which keys are routed.
#[derive(Clone)]
pub(crate) struct Address {
    written: String,
    lookup: Lookup,
}

impl Address {
    pub(crate) fn new(written: String) -> Self {
        let lookup: Lookup =
            Arc::new(|name| Box::pin(async { Ok(tokio::net::lookup_host(name).await?.collect()) }));
        Self { written, lookup }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.written
    }

    /// Resolves the address: to one socket address, or to one of each family for a machine that has
    /// both.
    ///
    /// A name of several machines would spread one session over them. A connection to one of them
    /// would miss the writes and logouts on the others.
    pub(crate) async fn find(&self) -> Result<Vec<SocketAddr>> {
        let found = (self.lookup)(self.written.clone()).await.map_err(|cause| {
            unsent(&self.written, "cannot be found; is the name right?").with_source(cause)
        })?;
        let mut addresses: Vec<SocketAddr> = Vec::with_capacity(2);
        for address in found {
            if addresses.contains(&address) {
                continue;
            }
            if addresses.iter().any(|known| known.is_ipv4() == address.is_ipv4()) {
                let why = "resolves to several servers; list the servers in the session URL, \
                           separated by commas, so that every session stays on one of them";
                return Err(unfit(&self.written, ErrorKind::InvalidConfig, why));
            }
            addresses.push(address);
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
impl Address {
    /// Replaces the resolver.
    pub(crate) fn resolving_to(
        mut self,
        addresses: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.lookup = Arc::new(move |_| Box::pin(std::future::ready(Ok(addresses()))));
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    async fn find(addresses: &'static [&'static str]) -> Result<usize> {
        let resolved = || addresses.iter().map(|address| address.parse().unwrap()).collect();
        let found = Address::new("cache:11211".to_owned()).resolving_to(resolved).find().await;
        found.map(|found| found.len())
    }

    #[tokio::test]
    async fn name_of_one_machine_is_taken_and_of_several_refused() {
        assert_eq!(find(&["10.0.0.1:11211"]).await.unwrap(), 1);
        assert_eq!(find(&["[::1]:11211", "127.0.0.1:11211", "127.0.0.1:11211"]).await.unwrap(), 2);
        for several in [
            &["10.0.0.1:11211", "10.0.0.2:11211"][..],
            &["[fd00::1]:11211", "[fd00::2]:11211"],
            &["[fd00::1]:11211", "10.0.0.1:11211", "10.0.0.2:11211"],
        ] {
            let error = find(several).await.unwrap_err();
            assert!(
                error.is_invalid_config() && error.to_string().contains("list the servers"),
                "{error}"
            );
        }
    }
}
