//! The options of MySQL's and MariaDB's URLs.

use std::sync::Arc;

use mocha_session_core::{BoxFuture, Result, StoreUrl};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions as _, MySql};

use super::server::{ServerUrl, TlsMode, ignore};
use crate::connections::{Connections, Target};
use crate::loan::Source;
use crate::store::SqlStore;

pub(super) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let server = ServerUrl::take(url)?;
    // Ids are ASCII, the other columns are bytes and numbers, and each statement is a transaction.
    ignore(url, &["autocommit", "charset", "collation", "use_unicode"]);
    let limits = server.limits();
    let common = connect_options(url, &server)?;
    let hosts = server.hosts.iter().map(|(host, port)| {
        let mut options = common.clone();
        if let Some(host) = host {
            options = options.host(host);
        }
        if let Some(port) = port {
            options = options.port(*port);
        }
        Target { options, bare: None }
    });
    let own = Connections::new(hosts.collect(), url.credentials(), limits, server.max_connections);
    let source = Source::<MySql>::Own(Arc::new(own));
    Ok(Box::pin(crate::open::open(source.clone(), source, server.options)))
}

fn connect_options(url: &mut StoreUrl, server: &ServerUrl) -> Result<MySqlConnectOptions> {
    // The store makes its own settings when it connects.
    let mut options = MySqlConnectOptions::new()
        .set_names(false)
        .timezone(None)
        .pipes_as_concat(false)
        .no_engine_substitution(false);
    if let Some(socket) = url.take("unix_socket") {
        options = options.socket(socket);
    }
    match &server.database {
        Some(database) => options = options.database(database),
        None => return Err(url.refuse("it names no database: …@host/name")),
    }
    options = options.ssl_mode(match server.tls.mode {
        Some(TlsMode::Disable) => MySqlSslMode::Disabled,
        Some(TlsMode::Prefer) | None => MySqlSslMode::Preferred,
        Some(TlsMode::Require) => MySqlSslMode::Required,
        Some(TlsMode::VerifyCa) => MySqlSslMode::VerifyCa,
        Some(TlsMode::VerifyFull) => MySqlSslMode::VerifyIdentity,
    });
    if let Some(root) = &server.tls.root {
        options = options.ssl_ca(root);
    }
    if let Some((certificate, key)) = &server.tls.certificate {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options.disable_statement_logging())
}
