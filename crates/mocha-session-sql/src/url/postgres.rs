//! The options of PostgreSQL's URLs.

use std::sync::Arc;

use mocha_session_core::{BoxFuture, Result, StoreUrl};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Postgres};

use super::server::{ServerUrl, TlsMode, ignore};
use crate::connections::{Connections, Target};
use crate::loan::Source;
use crate::store::SqlStore;

pub(super) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let mut server = ServerUrl::take(url)?;
    if let Some(schema) = url.take("schema") {
        server.options.table = server.options.table.in_schema(&schema)?;
    }
    match url.take("target_session_attrs").as_deref() {
        None | Some("any" | "read-write" | "primary") => {}
        Some(_) => {
            return Err(url.refuse_option(
                "target_session_attrs",
                "must be read-write, primary or any: sessions are read where they are written",
            ));
        }
    }
    let folder = url.take("host");
    if let Some(folder) = folder {
        server.hosts =
            folder.split(',').map(|host| (Some(host.to_owned()), server.hosts[0].1)).collect();
    }
    take_unneeded(url)?;
    let limits = server.limits();
    let settings = take_settings(url)?;
    let common = connect_options(url, &server)?;
    let bare = common.clone().options(settings.clone());
    // The URL's own settings come later, so they replace this one.
    let limit = ("statement_timeout".to_owned(), limits.statement.as_millis().max(1).to_string());
    let full = common.options([limit]).options(settings);
    let hosts = server.hosts.iter().map(|(host, port)| {
        let at = |mut options: PgConnectOptions| {
            if let Some(host) = host {
                options = options.host(host).port(5432);
            }
            match port {
                Some(port) => options.port(*port),
                None => options,
            }
        };
        Target { options: at(full.clone()), bare: Some(at(bare.clone())) }
    });
    let own = Connections::new(hosts.collect(), url.credentials(), limits, server.max_connections);
    let source = Source::<Postgres>::Own(Arc::new(own));
    Ok(Box::pin(crate::open::open(source.clone(), source, server.options)))
}

/// Takes the options that are for other clients, and those that hold in any case.
fn take_unneeded(url: &mut StoreUrl) -> Result<()> {
    // Sessions are bytes, hosts are tried in the URL's order, and the deadline detects dead peers.
    ignore(
        url,
        &[
            "client_encoding",
            "fallback_application_name",
            "keepalives",
            "keepalives_count",
            "keepalives_idle",
            "keepalives_interval",
            "load_balance_hosts",
            "tcp_user_timeout",
        ],
    );
    match url.take("gssencmode").as_deref() {
        None | Some("disable" | "prefer") => Ok(()),
        Some(_) => {
            Err(url.refuse_option("gssencmode", "must be disable: only TLS encrypts connections"))
        }
    }
}

/// Takes `synchronous_commit` and `options`: the settings of a connection.
fn take_settings(url: &mut StoreUrl) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    if let Some(commit) = url.take("synchronous_commit") {
        if !["on", "off", "local", "remote_write", "remote_apply"].contains(&&*commit) {
            return Err(url.refuse_option(
                "synchronous_commit",
                "must be on, off, local, remote_write or remote_apply",
            ));
        }
        settings.push(("synchronous_commit".to_owned(), commit));
    }
    let given = url.take("options").unwrap_or_default();
    let mut words = given.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            Some("") => words.next(),
            setting => setting,
        };
        match setting.and_then(|setting| setting.split_once('=')) {
            Some((name, value)) => settings.push((name.replace('-', "_"), value.to_owned())),
            None => return Err(url.refuse_option("options", "must be of the form -c name=value")),
        }
    }
    Ok(settings)
}

fn connect_options(url: &mut StoreUrl, server: &ServerUrl) -> Result<PgConnectOptions> {
    // The URL's gaps are filled from libpq's environment variables (PGHOST, PGUSER, …), as by every
    // client. PgBouncer would refuse the setting `extra_float_digits`.
    let mut options = PgConnectOptions::new_without_pgpass().extra_float_digits(None);
    if let Some(database) = &server.database {
        options = options.database(database);
    }
    if let Some(name) = url.take("application_name") {
        options = options.application_name(&name);
    }
    if let Some(root) = &server.tls.root {
        options = options.ssl_root_cert(root);
    }
    if let Some((certificate, key)) = &server.tls.certificate {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options.ssl_mode(tls_mode(url, server)?).disable_statement_logging())
}

/// Returns the encryption mode, from the URL or otherwise from the environment.
fn tls_mode(url: &mut StoreUrl, server: &ServerUrl) -> Result<PgSslMode> {
    let mut mode = server.tls.mode;
    if let (None, Ok(word)) = (mode, std::env::var("PGSSLMODE")) {
        let known = TlsMode::parse(&word);
        mode = Some(known.ok_or_else(|| {
            url.refuse(
                "PGSSLMODE in the environment must be disable, prefer, require, verify-ca or \
                 verify-full",
            )
        })?);
    }
    if mode.is_none() && std::env::var_os("PGSSLROOTCERT").is_some() {
        mode = Some(TlsMode::VerifyFull);
    }
    match url.take("channel_binding").as_deref() {
        None | Some("disable" | "prefer") => {}
        // Channel binding prevents impersonation of the server. The client lacks it, and verifying
        // the certificate prevents the same.
        Some("require") if mode != Some(TlsMode::Disable) => mode = Some(TlsMode::VerifyFull),
        Some("require") => {
            return Err(
                url.refuse_option("channel_binding", "needs TLS, which `sslmode` switches off")
            );
        }
        Some(_) => {
            return Err(url.refuse_option("channel_binding", "must be disable, prefer or require"));
        }
    }
    Ok(match mode {
        Some(TlsMode::Disable) => PgSslMode::Disable,
        Some(TlsMode::Prefer) | None => PgSslMode::Prefer,
        Some(TlsMode::Require) => PgSslMode::Require,
        Some(TlsMode::VerifyCa) => PgSslMode::VerifyCa,
        Some(TlsMode::VerifyFull) => PgSslMode::VerifyFull,
    })
}
