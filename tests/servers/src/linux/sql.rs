//! PostgreSQL, directly and through `PgBouncer`, and MariaDB and MySQL, each with a database
//! `mocha` and a user `app` with all rights in it.

use super::place::{Place, free_port};
use crate::{Result, command};
use std::fs;
use std::process::Command;

const PASSWORD: &str = "s3cret";

pub(super) fn postgres(place: &Place) -> Result<Vec<String>> {
    Ok(vec![postgres_url(start_postgres(place)?)])
}

/// Starts one server with two URLs: a direct one, and one through a pooler that assigns connections
/// per transaction.
pub(super) fn pgbouncer(place: &Place) -> Result<Vec<String>> {
    let server = start_postgres(place)?;
    let folder = place.subfolder("pgbouncer")?;
    let (users, config) = (folder.join("users"), folder.join("pgbouncer.ini"));
    let port = free_port()?;
    fs::write(&users, format!("\"app\" \"{PASSWORD}\"\n"))?;
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={server}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {}\nmax_client_conn = 500\n\
         pool_mode = transaction\nmax_prepared_statements = 200\n\
         ignore_startup_parameters = extra_float_digits\n",
        place.seen(&users).display()
    );
    fs::write(&config, settings)?;
    let mut pooler = place.as_user("postgres", "pgbouncer")?;
    pooler.arg(place.seen(&config));
    let mut pooler = place.spawn("pgbouncer", pooler)?;
    pooler.ready(|| psql(place, &postgres_url(port), "SELECT 1"))?;
    Ok(vec![postgres_url(server), postgres_url(port)])
}

/// Starts it and returns its port.
fn start_postgres(place: &Place) -> Result<u16> {
    let folder = place.subfolder("server")?;
    let password = folder.join("password");
    fs::write(&password, PASSWORD)?;
    place.give_to("postgres", &folder)?;
    let data = place.seen(&folder.join("data"));
    // TCP connections need a password, so that wrong passwords are refused.
    let mut initdb = place.as_user(
        "postgres",
        "initdb -U app --auth-host=scram-sha-256 --auth-local=trust -E UTF8 --locale=C --no-sync",
    )?;
    initdb.arg("-D").arg(&data).arg("--pwfile").arg(place.seen(&password));
    place.run("initdb", initdb)?;

    let port = free_port()?;
    // A crash of the machine may lose this data, which is acceptable. Shared memory is a file,
    // because a tree has no /dev/shm.
    let words = format!(
        "postgres -p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=500 \
         -c dynamic_shared_memory_type=mmap"
    );
    let mut server = place.as_user("postgres", &words)?;
    server.arg("-D").arg(&data).arg("-c");
    server.arg(format!("unix_socket_directories={}", place.seen(&folder).display()));
    let mut server = place.spawn("postgres", server)?;
    let first = format!("postgresql://app:{PASSWORD}@127.0.0.1:{port}/postgres");
    server.ready(|| psql(place, &first, "SELECT 1"))?;
    psql(place, &first, "CREATE DATABASE mocha")?;
    Ok(port)
}

fn postgres_url(port: u16) -> String {
    format!("postgresql://app:{PASSWORD}@127.0.0.1:{port}/mocha")
}

fn psql(place: &Place, url: &str, sql: &str) -> Result {
    let mut psql = place.program("psql --no-psqlrc --quiet --dbname")?;
    command::read(psql.args([url, "--command", sql])).map(drop)
}

pub(super) fn mariadb(place: &Place) -> Result<Vec<String>> {
    let install = "mariadb-install-db --no-defaults --auth-root-authentication-method=normal \
        --skip-test-db";
    start_mysql(place, install, "mariadbd --no-defaults", "mariadb")
}

/// Values up to MariaDB's default size. MySQL's own default, 64 MiB, is too large for the
/// conformance suite to try.
pub(super) fn mysql(place: &Place) -> Result<Vec<String>> {
    let server = "mysqld --no-defaults --mysqlx=OFF --secure-file-priv=NULL \
        --max-allowed-packet=16M";
    start_mysql(place, "mysqld --no-defaults --initialize-insecure", server, "mysql")
}

/// Starts MariaDB or MySQL, which differ only in their names.
fn start_mysql(place: &Place, install: &str, server: &str, client: &str) -> Result<Vec<String>> {
    let folder = place.subfolder("server")?;
    place.give_to("mysql", &folder)?;
    let add = |command: &mut Command, name: &str, file: &str| {
        command.arg(format!("--{name}={}", place.seen(&folder.join(file)).display()));
    };
    let mut install = place.as_user("mysql", install)?;
    // A server that starts removes the temporary tables of others from a folder that they share.
    fs::create_dir_all(folder.join("tmp"))?;
    place.give_to("mysql", &folder.join("tmp"))?;
    add(&mut install, "tmpdir", "tmp");
    add(&mut install, "datadir", "data");
    place.run("install", install)?;

    let port = free_port()?;
    let set_up = format!(
        "CREATE DATABASE IF NOT EXISTS mocha;\n\
         CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO app@'%';\n"
    );
    fs::write(folder.join("set-up.sql"), set_up)?;
    // The commit log is written but not forced to disk. It survives the end of the server, which is
    // all that the tests need.
    let mut server = place.as_user(
        "mysql",
        &format!(
            "{server} --port={port} --bind-address=127.0.0.1 --max-connections=500 \
             --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=64M"
        ),
    )?;
    let files = [("datadir", "data"), ("tmpdir", "tmp"), ("socket", "socket"), ("pid-file", "pid")];
    for (name, file) in files {
        add(&mut server, name, file);
    }
    add(&mut server, "init-file", "set-up.sql");
    let ask = format!(
        "{client} --no-defaults --user=app --password={PASSWORD} --host=127.0.0.1 --port={port}"
    );
    let mut server = place.spawn(client, server)?;
    server.ready(|| command::read(place.program(&ask)?.arg("--execute=USE mocha")).map(drop))?;
    Ok(vec![format!("mysql://app:{PASSWORD}@127.0.0.1:{port}/mocha")])
}
