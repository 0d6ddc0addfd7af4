//! PostgreSQL and MariaDB, each with a database `mocha` and a user `app` who may do everything there.

use super::place::{Place, free_port};
use super::record::Signal;
use crate::{Result, command};
use std::fs;

const PASSWORD: &str = "s3cret";

pub(crate) fn postgres(place: &Place) -> Result<Vec<String>> {
    let folder = place.subfolder("server")?;
    let (data, password) = (folder.join("data"), folder.join("password"));
    fs::write(&password, PASSWORD)?;
    place.give_to("postgres", &folder)?;
    let mut initdb = place.as_user("postgres", "initdb")?;
    // A password is asked for over TCP, so that wrong ones are refused.
    initdb.args([
        "-U",
        "app",
        "--auth-host=scram-sha-256",
        "--auth-local=trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]);
    place.run("initdb", initdb.arg("--pwfile").arg(&password).arg("-D").arg(&data))?;

    let port = free_port()?;
    let mut server = place.as_user("postgres", "postgres")?;
    server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    server.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
    // A crash of the whole machine may lose this data: nobody will miss it.
    server.args(["-c", "fsync=off", "-c", "max_connections=500"]);
    let mut server = place.spawn_ending_on(Signal::Int, "postgres", &server)?;

    let url = |database: &str| format!("postgresql://app:{PASSWORD}@127.0.0.1:{port}/{database}");
    let ask = |database: &str, sql: &str| -> Result {
        let mut psql = command::program("psql")?;
        command::read(psql.args(["--no-psqlrc", "--quiet", "--dbname", &url(database), "--command", sql]))
            .map(drop)
    };
    server.ready(|| ask("postgres", "SELECT 1"))?;
    ask("postgres", "CREATE DATABASE mocha")?;
    Ok(vec![url("mocha")])
}

pub(crate) fn mariadb(place: &Place) -> Result<Vec<String>> {
    let folder = place.subfolder("server")?;
    let (data, socket) = (folder.join("data"), folder.join("socket"));
    place.give_to("mysql", &folder)?;
    let user = if place.root { &["--user=mysql"][..] } else { &[] };
    let mut install = command::program("mariadb-install-db")?;
    install
        .arg("--no-defaults")
        .args(user)
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    place.run("mariadb-install-db", install.arg(format!("--datadir={}", data.display())))?;

    let port = free_port()?;
    let mut server = command::program("mariadbd")?;
    server.arg("--no-defaults").args(user);
    server.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
    server.arg(format!("--pid-file={}", folder.join("pid").display()));
    server.args(["--bind-address=127.0.0.1", &format!("--port={port}"), "--max-connections=500"]);
    // The log of a commit is written but not forced to disk: it survives the server's end, which is all that tests do.
    server.args(["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M"]);
    // It would take seconds to end in order, and while it starts it doesn't listen to SIGTERM.
    let mut server = place.spawn_ending_on(Signal::Kill, "mariadb", &server)?;

    let ask = |client: &[&str], sql: &str| -> Result {
        let mut mariadb = command::program("mariadb")?;
        command::read(mariadb.arg("--no-defaults").args(client).arg(format!("--execute={sql}"))).map(drop)
    };
    let set_up = format!(
        "CREATE DATABASE IF NOT EXISTS mocha; CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY '{PASSWORD}'; \
         GRANT ALL ON *.* TO app@'%'"
    );
    server.ready(|| ask(&["--user=root", &format!("--socket={}", socket.display())], &set_up))?;
    let as_app =
        ["--user=app", &format!("--password={PASSWORD}"), "--host=127.0.0.1", &format!("--port={port}")];
    ask(&as_app, "USE mocha")?;
    Ok(vec![format!("mysql://app:{PASSWORD}@127.0.0.1:{port}/mocha")])
}
