//! Private servers, for tests that promote, demote or reconfigure one.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mocha_session_conformance::tools::{eventually, free_port};
use mocha_session_sql::sqlx;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

/// A server that ends with the test.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// A PostgreSQL server with nothing in it. The user `app` may do everything, without a
    /// password.
    pub async fn postgres() -> Self {
        let (folder, data) = new_postgres();
        Self::start_postgres(folder, &data).await
    }

    /// The same with a certificate for 127.0.0.1, and the file with the certificate, which vouches
    /// for itself.
    pub async fn postgres_with_tls() -> (Self, String) {
        let (folder, data) = new_postgres();
        let mut openssl = as_user("postgres", "openssl");
        let words = "req -x509 -days 7 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                     -subj /CN=test -addext subjectAltName=IP:127.0.0.1 \
                     -addext basicConstraints=critical,CA:FALSE -keyout";
        openssl.args(words.split(' '));
        let certificate = data.join("server.crt");
        run(openssl.arg(data.join("server.key")).arg("-out").arg(&certificate));
        let readable = std::fs::read(&certificate).unwrap();
        let shown = folder.path().join("certificate.pem");
        std::fs::write(&shown, readable).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"ssl = on\n"))
            .unwrap();
        (Self::start_postgres(folder, &data).await, shown.display().to_string())
    }

    /// A streaming standby of this PostgreSQL server.
    pub async fn standby(&self) -> Self {
        let folder = folder_of("postgres");
        let data = folder.path().join("data");
        let mut backup = as_user("postgres", "pg_basebackup");
        backup.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "app"]);
        run(backup.args(["--checkpoint=fast", "--no-sync", "-R", "-D"]).arg(&data));
        Self::start_postgres(folder, &data).await
    }

    async fn start_postgres(folder: TempDir, data: &Path) -> Self {
        let port = free_port();
        let mut server = as_user("postgres", "postgres");
        server.args(["-p", &port.to_string(), "-D"]).arg(data);
        server.arg("-c").arg(format!("unix_socket_directories={}", folder.path().display()));
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        let server = Self { child: spawn(&mut server), folder, port };
        let url = server.url();
        eventually("postgres", async || sqlx::PgConnection::connect(&url).await).await;
        server
    }

    /// A MariaDB server with a database `mocha`. The user `app` may do everything but write to a
    /// read-only server.
    pub async fn mariadb() -> Self {
        Self::start_mariadb(new_mariadb(), 1, &[]).await.with_database().await
    }

    /// The same, and its read-only replica, which repeats all that was ever written there.
    pub async fn mariadb_pair() -> (Self, Self) {
        let (one, other) = (new_mariadb(), folder_of("mysql"));
        run(Command::new("cp").arg("-a").arg(one.path().join("data")).arg(other.path()));
        let replica = Self::start_mariadb(other, 2, &["--read-only=1"]);
        let (primary, replica) = tokio::join!(Self::start_mariadb(one, 1, &[]), replica);
        let primary = primary.with_database().await;
        let source = format!(
            "CHANGE MASTER TO master_host = '127.0.0.1', master_port = {}, master_user = 'app', \
             master_password = 'pw', master_use_gtid = slave_pos, master_connect_retry = 1",
            primary.port
        );
        replica.root(&source).await;
        replica.root("START SLAVE").await;
        (primary, replica)
    }

    async fn with_database(self) -> Self {
        self.root("CREATE DATABASE mocha").await;
        self.root("CREATE USER app@'%' IDENTIFIED BY 'pw'").await;
        self.root("GRANT ALL ON mocha.* TO app@'%'").await;
        self.root("GRANT REPLICATION SLAVE ON *.* TO app@'%'").await;
        self
    }

    async fn start_mariadb(folder: TempDir, id: u32, more: &[&str]) -> Self {
        let (data, socket) = (folder.path().join("data"), folder.path().join("socket"));
        let port = free_port();
        let mut server = Command::new(program("mariadbd"));
        server.args(MARIADB).args(mariadb_user()).arg(format!("--datadir={}", data.display()));
        server.arg(format!("--socket={}", socket.display())).arg(tmpdir(&folder));
        server.args([format!("--port={port}"), format!("--server-id={id}")]);
        server
            .args([
                "--bind-address=127.0.0.1",
                "--log-bin=log",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .args(more);
        let server = Self { child: spawn(&mut server), folder, port };
        eventually("mariadb", async || server.mariadb_root().await).await;
        server
    }

    /// The store's URL of a PostgreSQL server at this address.
    pub fn url_at(authority: &str) -> String {
        format!("postgresql://app@{authority}/postgres")
    }

    pub fn url(&self) -> String {
        Self::url_at(&self.authority())
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs a statement on this PostgreSQL server and returns the first value as text.
    pub async fn ask(&self, sql: &str) -> String {
        let mut connection = sqlx::PgConnection::connect(&self.url()).await.unwrap();
        let row =
            connection.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
        let value =
            row.map(|row| sqlx::Row::try_get_unchecked::<Option<String>, _>(&row, 0).unwrap());
        connection.close().await.unwrap();
        value.flatten().unwrap_or_default()
    }

    /// Runs a statement on this MariaDB server as its administrator.
    pub async fn root(&self, sql: &str) {
        self.root_row(sql).await;
    }

    /// The same, and returns this column of the first row as text.
    pub async fn root_ask(&self, sql: &str, column: &str) -> String {
        let row = self.root_row(sql).await.expect(sql);
        sqlx::Row::try_get_unchecked::<Option<String>, _>(&row, column).unwrap().unwrap_or_default()
    }

    async fn root_row(&self, sql: &str) -> Option<sqlx::mysql::MySqlRow> {
        let mut connection = self.mariadb_root().await.unwrap();
        let row =
            connection.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
        connection.close().await.unwrap();
        row
    }

    /// Waits until this column says that the replica has all that its primary has written.
    pub async fn caught_up(&self, sql: &str, column: &str, primary: &Self) {
        let written = primary.root_ask("SELECT @@gtid_binlog_pos AS it", "it").await;
        super::until(column, async || self.root_ask(sql, column).await == written).await;
    }

    async fn mariadb_root(&self) -> sqlx::Result<sqlx::MySqlConnection> {
        let options = sqlx::mysql::MySqlConnectOptions::new().username("root");
        sqlx::MySqlConnection::connect_with(&options.socket(self.folder.path().join("socket")))
            .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // PostgreSQL takes its children along only when it is told to; neither has anything to
        // save.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        std::thread::sleep(Duration::from_millis(100));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of a PostgreSQL server that was never started, and its data in it.
fn new_postgres() -> (TempDir, PathBuf) {
    let folder = folder_of("postgres");
    let data = folder.path().join("data");
    let mut initdb = as_user("postgres", "initdb");
    initdb.args(["-U", "app", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
    run(initdb.arg(&data));
    (folder, data)
}

/// The options of every MariaDB program: a small log, which is quick to make and to copy.
const MARIADB: [&str; 2] = ["--no-defaults", "--innodb-log-file-size=8M"];

fn mariadb_user() -> Option<&'static str> {
    is_root().then_some("--user=mysql")
}

/// The folder of a MariaDB server that was never started, and its data in it.
fn new_mariadb() -> TempDir {
    let folder = folder_of("mysql");
    let mut install = Command::new(program("mariadb-install-db"));
    install.args(MARIADB).args(mariadb_user()).args(["--auth-root-authentication-method=normal"]);
    let data = folder.path().join("data");
    install.args([String::from("--skip-test-db"), tmpdir(&folder)]);
    run(install.arg(format!("--datadir={}", data.display())));
    folder
}

/// A server that starts removes the temporary tables of others from a folder that they share.
fn tmpdir(folder: &TempDir) -> String {
    format!("--tmpdir={}", folder.path().display())
}

fn folder_of(user: &str) -> TempDir {
    let all_may_enter = std::fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(all_may_enter).tempdir().unwrap();
    if is_root() {
        run(Command::new("chown").arg(user).arg(folder.path()));
    }
    folder
}

/// A program as this user when we are root, because the servers refuse to run as root.
fn as_user(user: &str, name: &str) -> Command {
    if !is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups"]);
    command.arg(program(name));
    command
}

/// Debian keeps PostgreSQL's programs out of the path, and the servers in the administrator's.
fn program(name: &str) -> PathBuf {
    let mut folders: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.push("/usr/sbin".into());
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|of_ours| of_ours.uid() == 0)
}

fn run(command: &mut Command) {
    let done = command.current_dir("/").stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn spawn(command: &mut Command) -> Child {
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}
