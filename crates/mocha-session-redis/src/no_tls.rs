//! Stands in for `tls.rs` without that cargo feature: types that have no values.

use mocha_session_core::{Result, StoreUrl};
use redis::cluster::ClusterClientBuilder;
use redis::{ConnectionInfo, RedisResult};

pub(crate) enum Files {}

impl Files {
    pub(crate) fn take(url: &mut StoreUrl) -> Result<Self> {
        Err(url.refuse("TLS needs the cargo feature `redis-tls` of mocha-session, or `tls` of mocha-session-redis"))
    }

    #[allow(clippy::unused_async, reason = "as with the feature")]
    pub(crate) async fn read(&self) -> Result<Certificates> {
        match *self {}
    }
}

#[derive(Clone)]
pub(crate) enum Certificates {}

impl Certificates {
    pub(crate) fn secure_server(&self, _: ConnectionInfo) -> RedisResult<ConnectionInfo> {
        match *self {}
    }

    pub(crate) fn secure_cluster(self, _: ClusterClientBuilder) -> ClusterClientBuilder {
        match self {}
    }
}

pub(crate) fn provide() {}
