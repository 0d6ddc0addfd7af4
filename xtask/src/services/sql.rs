//! PostgreSQL, directly and through `PgBouncer`, and MariaDB and MySQL, each with a database
//! `mocha` and a user `app` who may do everything there.

use super::place::{Place, free_port};
use super::record::Signal;
use crate::{Result, command};
use std::fs;
use std::process::Command;

const PASSWORD: &str = "s3cret";

pub(crate) fn postgres(place: &Place) -> Result<Vec<String>> {
    Ok(vec![postgres_url(start_postgres(place)?)])
}

/// The same server by two ways: directly, and through a pooler that gives a connection to each
/// transaction alone.
pub(crate) fn pgbouncer(place: &Place) -> Result<Vec<String>> {
    let server = start_postgres(place)?;
    let folder = place.subfolder("pgbouncer")?;
    let (users, config) = (folder.join("users"), folder.join("pgbouncer.ini"));
    let port = free_port()?;
    fs::write(&users, format!("\"app\" \"{PASSWORD}\"\n"))?;
    fs::write(
        &config,
        format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\nmax_client_conn = 500\n\
             pool_mode = transaction\nmax_prepared_statements = 200\n\
             ignore_startup_parameters = extra_float_digits\n",
            place.seen(&users).display()
        ),
    )?;
    let mut pooler = place.as_user("postgres", "pgbouncer")?;
    let mut pooler = place.spawn("pgbouncer", pooler.arg(place.seen(&config)))?;
    pooler.ready(|| psql(place, &postgres_url(port), "SELECT 1"))?;
    Ok(vec![postgres_url(server), postgres_url(port)])
}

/// Starts it and answers its port.
fn start_postgres(place: &Place) -> Result<u16> {
    let folder = place.subfolder("server")?;
    let password = folder.join("password");
    fs::write(&password, PASSWORD)?;
    place.give_to("postgres", &folder)?;
    let data = place.seen(&folder.join("data"));
    let mut initdb = place.as_user("postgres", "initdb")?;
    // A password is asked for over TCP, so that wrong ones are refused.
    initdb.args(["-U", "app", "--auth-host=scram-sha-256", "--auth-local=trust"]);
    initdb.args(["-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data);
    place.run("initdb", initdb.arg("--pwfile").arg(place.seen(&password)))?;

    let port = free_port()?;
    let mut server = place.as_user("postgres", "postgres")?;
    server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    server.arg("-c").arg(format!("unix_socket_directories={}", place.seen(&folder).display()));
    // A crash of the whole machine may lose this data: nobody will miss it. Shared memory is a
    // file of its own: no tree has a /dev/shm.
    server.args([
        "-c",
        "fsync=off",
        "-c",
        "max_connections=500",
        "-c",
        "dynamic_shared_memory_type=mmap",
    ]);
    let mut server = place.spawn_ending_on(Signal::Int, "postgres", &server)?;
    let first = format!("postgresql://app:{PASSWORD}@127.0.0.1:{port}/postgres");
    server.ready(|| psql(place, &first, "SELECT 1"))?;
    psql(place, &first, "CREATE DATABASE mocha")?;
    Ok(port)
}

fn postgres_url(port: u16) -> String {
    format!("postgresql://app:{PASSWORD}@127.0.0.1:{port}/mocha")
}

fn psql(place: &Place, url: &str, sql: &str) -> Result {
    let mut psql = place.program("psql")?;
    psql.args(["--no-psqlrc", "--quiet", "--dbname", url, "--command", sql]);
    command::read(&mut psql).map(drop)
}

pub(crate) fn mariadb(place: &Place) -> Result<Vec<String>> {
    let mut install = place.as_user("mysql", "mariadb-install-db")?;
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    let mut server = place.as_user("mysql", "mariadbd")?;
    server.arg("--no-defaults");
    start_mysql(place, install, server, "mariadb")
}

pub(crate) fn mysql(place: &Place) -> Result<Vec<String>> {
    let mut install = place.as_user("mysql", "mysqld")?;
    install.args(["--no-defaults", "--initialize-insecure"]);
    let mut server = place.as_user("mysql", "mysqld")?;
    server.args(["--no-defaults", "--mysqlx=OFF", "--secure-file-priv=NULL"]);
    // MariaDB's default. A value of MySQL's, 64 MiB, is too large for the conformance suite to try.
    server.arg("--max-allowed-packet=16M");
    start_mysql(place, install, server, "mysql")
}

/// What MariaDB and MySQL have in common: all but their names.
fn start_mysql(
    place: &Place,
    mut install: Command,
    mut server: Command,
    client: &str,
) -> Result<Vec<String>> {
    let folder = place.subfolder("server")?;
    place.give_to("mysql", &folder)?;
    let argument =
        |name: &str, file: &str| format!("--{name}={}", place.seen(&folder.join(file)).display());
    place.run("install", install.arg(argument("datadir", "data")))?;

    let port = free_port()?;
    fs::write(
        folder.join("set-up.sql"),
        format!(
            "CREATE DATABASE IF NOT EXISTS mocha;\n\
             CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO app@'%';\n"
        ),
    )?;
    server.args([
        argument("datadir", "data"),
        argument("socket", "socket"),
        argument("pid-file", "pid"),
    ]);
    server.args([argument("init-file", "set-up.sql"), format!("--port={port}")]);
    server.args(["--bind-address=127.0.0.1", "--max-connections=500"]);
    // The log of a commit is written but not forced to disk: it survives the server's end, which is
    // all that tests do.
    server.args(["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M"]);
    // It would take seconds to end in order, and while it starts it doesn't listen to SIGTERM.
    let mut server = place.spawn_ending_on(Signal::Kill, client, &server)?;
    server.ready(|| {
        let mut ask = place.program(client)?;
        ask.args(["--no-defaults", "--user=app", "--host=127.0.0.1", "--execute=USE mocha"]);
        ask.args([format!("--password={PASSWORD}"), format!("--port={port}")]);
        command::read(&mut ask).map(drop)
    })?;
    Ok(vec![format!("mysql://app:{PASSWORD}@127.0.0.1:{port}/mocha")])
}
