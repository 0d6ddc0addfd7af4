//! The environment of a service: its folder, its ports, its processes, and waiting for them.

use super::record::{DATA_PREFIX, Record};
use super::tree;
use crate::{Result, command, install};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The maximum time until a server answers, on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(25);

pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Whether this process is root. Some servers refuse to run as root and get their own user.
    pub(super) root: bool,
    /// The root folder of the service's programs, if it is not the machine's root.
    tree: Option<PathBuf>,
    record: Record,
}

impl Place {
    pub(super) fn new(
        data: &Path,
        name: &str,
        record: &Record,
        tree: Option<PathBuf>,
    ) -> Result<Self> {
        let tree = tree.map(fs::canonicalize).transpose()?;
        let folder = match &tree {
            None => data.join(name),
            // Files that a program in a tree must read have to be in the tree.
            Some(tree) => {
                let folder = tree.join("tmp").join(format!("{}-{name}", fresh_name()?));
                record.add("folder", &[&folder.to_string_lossy()])?;
                record.add("root", &[&tree.to_string_lossy()])?;
                folder
            }
        };
        make_folder(&folder)?;
        Ok(Self { folder, root: install::is_root(), tree, record: record.clone() })
    }

    pub(super) fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        make_folder(&folder)?;
        Ok(folder)
    }

    /// Returns the path by which the service's programs refer to a file or folder of this process.
    pub(super) fn seen(&self, path: &Path) -> PathBuf {
        let within = self.tree.as_ref().and_then(|tree| path.strip_prefix(tree).ok());
        within.map_or_else(|| path.to_path_buf(), |path| Path::new("/").join(path))
    }

    /// Gives a file or folder to the user under which a server will run.
    pub(super) fn give_to(&self, user: &str, path: &Path) -> Result {
        if self.root {
            let user = if self.tree.is_some() { tree::USER } else { user };
            command::read(Command::new("chown").arg(user).arg(path))?;
        }
        Ok(())
    }

    /// Creates a command for a program of the service, with arguments separated by spaces, under
    /// the current user. In a tree, it runs as the tree's only user.
    pub(super) fn program(&self, words: &str) -> Result<Command> {
        match &self.tree {
            None => command::program(words),
            Some(tree) => tree::program(tree, words),
        }
    }

    /// Creates a command for a program that runs as this user if this process is root, and
    /// otherwise as the current user.
    pub(super) fn as_user(&self, user: &str, words: &str) -> Result<Command> {
        let found = self.program(words)?;
        if !self.root || self.tree.is_some() {
            return Ok(found);
        }
        let mut switch =
            command::program(&format!("setpriv --reuid={user} --regid={user} --init-groups"))?;
        switch.arg(found.get_program()).args(found.get_args());
        Ok(switch)
    }

    /// Starts a server.
    pub(super) fn spawn(&self, name: &str, command: Command) -> Result<Server> {
        let server = self.launch(name, command)?;
        self.record.add("server", &[name, &server.child.id().to_string()])?;
        Ok(server)
    }

    /// Runs a preparing program to its end.
    pub(super) fn run(&self, name: &str, command: Command) -> Result {
        let mut helper = self.launch(name, command)?;
        let status = helper.child.wait()?;
        if status.success() { Ok(()) } else { Err(helper.complaint(&format!("{status}")).into()) }
    }

    /// Starts a program in the guard's process group, with its output in `name.log`.
    fn launch(&self, name: &str, mut command: Command) -> Result<Server> {
        let log = self.folder.join(format!("{name}.log"));
        let file = fs::File::create(&log)?;
        let group = self.record.group()?.ok_or("there is no guard")?;
        command.current_dir(&self.folder).process_group(group);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|error| format!("{name} cannot start: {error}"))?;
        Ok(Server { name: name.to_owned(), child, log })
    }
}

/// A started server.
pub(super) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Waits until the probe succeeds. If the server ends or takes too long, returns an error with
    /// the end of its log.
    pub(super) fn ready(&mut self, mut probe: impl FnMut() -> Result) -> Result {
        let begun = Instant::now();
        loop {
            let Err(error) = probe() else { return Ok(()) };
            if let Some(status) = self.child.try_wait()? {
                return Err(self.complaint(&format!("{status}")).into());
            }
            if begun.elapsed() > BOUND {
                let seconds = BOUND.as_secs();
                return Err(self
                    .complaint(&format!("not ready after {seconds} s: {error}"))
                    .into());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn complaint(&self, what: &str) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = command::tail(&String::from_utf8_lossy(&log), 20);
        format!("{}: {what}; the end of its log:\n{tail}", self.name)
    }
}

/// Returns a free port of the loopback, never the same one twice. It is below the range of outgoing
/// connections, so that none of them takes it before the server does.
pub(super) fn free_port() -> Result<u16> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Two concurrent runs begin at different ports.
    let begin = std::process::id().wrapping_mul(101);
    for _ in 0..COUNT {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + begin.wrapping_add(step) % COUNT)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port on 127.0.0.1".into())
}

/// Creates a new folder that servers under other users can reach, because all its parents are
/// accessible.
pub(super) fn data_folder() -> Result<PathBuf> {
    let candidates = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let base = candidates.iter().find(|folder| all_may_pass(folder));
    let base = base.ok_or("no temporary folder is open to all users")?;
    let folder = fs::canonicalize(base)?.join(fresh_name()?);
    make_folder(&folder)?;
    Ok(folder)
}

/// Returns the name of a data folder that no other process and no earlier call uses.
fn fresh_name() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(format!("{DATA_PREFIX}{}-{now}", std::process::id()))
}

/// Creates a new folder that every user may enter.
fn make_folder(folder: &Path) -> Result {
    fs::create_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
}

/// Returns whether every user may enter this folder and all its parents.
fn all_may_pass(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let passable = |folder: &Path| {
        fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
    };
    folder.ancestors().all(passable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let ports: Vec<u16> = (0..20).map(|_| free_port().unwrap()).collect();
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), ports.len());
        let held = TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
        assert!((20_000..32_000).contains(&held.local_addr().unwrap().port()));
    }

    #[test]
    fn the_data_folder_is_new_and_a_closed_one_lets_nobody_pass() {
        let (one, two) = (data_folder().unwrap(), data_folder().unwrap());
        assert!(one != two && all_may_pass(&one));
        let inner = one.join("inner");
        make_folder(&inner).unwrap();
        fs::set_permissions(&one, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!all_may_pass(&inner) && !all_may_pass(&one.join("missing")));
        for folder in [one, two] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}
