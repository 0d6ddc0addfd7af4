//! PostgreSQL 14 or later (13 sweeps slowly): its options, and what is asked of a connection.

use std::sync::Arc;

use mocha_session_core::backend::Credentials;
use mocha_session_core::store::Durability;
use mocha_session_core::{BoxFuture, Result, StoreUrl};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Postgres, Row as _};

use crate::clocks::Clocks;
use crate::connections::{Connections, Target, goodbye};
use crate::dialect::Dialect;
use crate::engine::{Engine, Facts, primary};
use crate::loan::Source;
use crate::open::open;
use crate::pool::Pool;
use crate::store::SqlStore;
use crate::url::server::{ServerUrl, TlsMode, ignore};

impl Engine for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
    const LOCAL: bool = false;

    fn login(mut options: PgConnectOptions, credentials: &Credentials) -> PgConnectOptions {
        if let Some(username) = credentials.username() {
            options = options.username(username);
        }
        match credentials.password() {
            Some(password) => options.password(password),
            None => options,
        }
    }

    async fn connect(options: &PgConnectOptions, _: &Clocks) -> sqlx::Result<PgConnection> {
        let mut connection = options.connect().await?;
        match Self::require_primary(&mut connection).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                goodbye::<Self>(connection);
                Err(error)
            }
        }
    }

    async fn require_primary(connection: &mut PgConnection) -> sqlx::Result<()> {
        // As plain text: behind a pooler nothing may be prepared before it is known to work.
        let question = AssertSqlSafe(format!("SELECT {}", Dialect::Postgres.read_only()));
        let row = sqlx::raw_sql(question).fetch_one(connection).await?;
        primary(row.try_get(0)?)
    }

    async fn inspect(connection: &mut PgConnection) -> sqlx::Result<Facts> {
        let (commit, fsync, version): (String, String, i32) = sqlx::query_as(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'), \
             current_setting('server_version_num')::int",
        )
        .fetch_one(connection)
        .await?;
        let durability = match (&*commit, &*fsync) {
            (_, "off") => Durability::Server,
            ("off", _) => Durability::Delayed,
            _ => Durability::Disk,
        };
        // Ranges of physical rows are read as such since 14; before, each would read the whole
        // table.
        Ok(Facts { durability, max_value: None, autocommit: true, by_block: version >= 140_000 })
    }

    fn pool(source: Source<Self>) -> Pool {
        Pool::Postgres(source)
    }
}

pub(crate) fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
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
    let clocks = server.clocks();
    let settings = take_settings(url)?;
    let common = connect_options(url, &server)?;
    let bare = common.clone().options(settings.clone());
    // What the user says comes later and counts.
    let limit = ("statement_timeout".to_owned(), clocks.statement.as_millis().max(1).to_string());
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
    let own = Connections::new(hosts.collect(), url.credentials(), clocks, server.max_connections);
    let source = Source::<Postgres>::Own(Arc::new(own));
    Ok(Box::pin(open(source.clone(), source, server.options)))
}

/// Takes what is for other clients, or is granted already.
fn take_unneeded(url: &mut StoreUrl) -> Result<()> {
    // The text of a session is bytes here; the order of hosts is the user's; dead peers are found
    // by the deadline.
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
        Some(_) => Err(url.refuse_option(
            "gssencmode",
            "must be disable: connections are encrypted by TLS alone",
        )),
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
    // What the URL leaves out comes from libpq's environment variables (PGHOST, PGUSER, …), as with
    // every client. No setting is asked for that PgBouncer would refuse.
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

/// How to encrypt: as the URL says, or else the environment.
fn tls_mode(url: &mut StoreUrl, server: &ServerUrl) -> Result<PgSslMode> {
    let mut mode = server.tls.mode;
    if let (None, Ok(word)) = (mode, std::env::var("PGSSLMODE")) {
        let known = TlsMode::parse(&word);
        mode = Some(known.ok_or_else(|| {
            url.refuse(
                "PGSSLMODE in the environment is not disable, prefer, require, verify-ca or verify-full",
            )
        })?);
    }
    if mode.is_none() && std::env::var_os("PGSSLROOTCERT").is_some() {
        mode = Some(TlsMode::VerifyFull);
    }
    match url.take("channel_binding").as_deref() {
        None | Some("disable" | "prefer") => {}
        // It keeps others from posing as the server. The client cannot do it; checking the
        // certificate does the same.
        Some("require") if mode != Some(TlsMode::Disable) => mode = Some(TlsMode::VerifyFull),
        Some("require") => {
            return Err(url.refuse_option("channel_binding", "needs TLS: it contradicts sslmode"));
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
