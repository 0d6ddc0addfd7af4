//! Where a service lives: its folder, its ports, its processes and how one waits for them.

use super::record::{DATA_PREFIX, Entry, Process, Record, Signal};
use super::tree;
use crate::{Result, command, install};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take until it answers, on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(25);

pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// Whether we are root: some servers refuse to run so and get a user of their own.
    pub(crate) root: bool,
    /// The root that the service's programs see, where they are not the machine's own.
    tree: Option<PathBuf>,
    record: Record,
}

impl Place {
    pub(crate) fn new(
        data: &Path,
        name: &str,
        record: &Record,
        tree: Option<PathBuf>,
    ) -> Result<Self> {
        let folder = match &tree {
            None => data.join(name),
            // What a program in a tree shall see must be in the tree.
            Some(tree) => {
                let folder = tree
                    .join("tmp")
                    .join(format!("{DATA_PREFIX}{}-{name}", Process::fresh_name()?));
                record.add(&Entry::Data(folder.clone()))?;
                folder
            }
        };
        make_folder(&folder)?;
        Ok(Self { folder, root: install::is_root(), tree, record: record.clone() })
    }

    pub(crate) fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        make_folder(&folder)?;
        Ok(folder)
    }

    /// The name by which the service's programs know a file or folder of ours.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let within = self.tree.as_ref().and_then(|tree| path.strip_prefix(tree).ok());
        within.map_or_else(|| path.to_path_buf(), |path| Path::new("/").join(path))
    }

    /// Hands a file or folder of ours to the user that a server will run as.
    pub(crate) fn give_to(&self, user: &str, path: &Path) -> Result {
        if self.root {
            let user = if self.tree.is_some() { tree::USER } else { user };
            command::read(Command::new("chown").arg(user).arg(path))?;
        }
        Ok(())
    }

    /// A program of the service, as we are; within a tree, as its only user.
    pub(crate) fn program(&self, program: &str) -> Result<Command> {
        match &self.tree {
            None => command::program(program),
            Some(tree) => tree::program(tree, program),
        }
    }

    /// A program as this user when we are root, and as ourselves otherwise.
    pub(crate) fn as_user(&self, user: &str, program: &str) -> Result<Command> {
        let found = self.program(program)?;
        if !self.root || self.tree.is_some() {
            return Ok(found);
        }
        let mut switch = Command::new("setpriv");
        switch.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups");
        switch.arg(found.get_program());
        Ok(switch)
    }

    /// Starts a server that ends on SIGTERM.
    pub(crate) fn spawn(&self, name: &str, command: &Command) -> Result<Server> {
        self.spawn_ending_on(Signal::Term, name, command)
    }

    /// Starts a server that wants another signal to end in order.
    pub(crate) fn spawn_ending_on(
        &self,
        signal: Signal,
        name: &str,
        command: &Command,
    ) -> Result<Server> {
        self.launch(name, command, |process| Entry::Server {
            process,
            signal,
            name: name.to_owned(),
        })
    }

    /// Runs a program that prepares something and ends by itself.
    pub(crate) fn run(&self, name: &str, command: &Command) -> Result {
        let mut helper = self.launch(name, command, Entry::Helper)?;
        let status = helper.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(helper.complaint(&format!("it ended with {status}")).into())
        }
    }

    /// Starts a program whose output goes to `name.log`, and that does not begin before it is in
    /// the record: however we end, whatever runs is known to whoever stops it.
    fn launch(
        &self,
        name: &str,
        command: &Command,
        entry: impl FnOnce(Process) -> Entry,
    ) -> Result<Server> {
        let log = self.folder.join(format!("{name}.log"));
        let file = fs::File::create(&log)?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"read -r go && exec "$0" "$@" </dev/null"#]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // A process group of its own, so that Ctrl-C leaves it to the guard to stop it in order.
        shell.current_dir(&self.folder).process_group(0);
        let mut child =
            shell.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file).spawn()?;
        let process =
            Process::of(child.id()).ok_or_else(|| format!("{name} could not be started"))?;
        self.record.add(&entry(process))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(b"go\n")?;
        }
        Ok(Server { name: name.to_owned(), child, log })
    }
}

/// A server that was started.
pub(crate) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Waits until the probe succeeds; an error with the end of the server's log when the server
    /// ends or takes too long.
    pub(crate) fn ready(&mut self, mut probe: impl FnMut() -> Result) -> Result {
        let begun = Instant::now();
        loop {
            let Err(error) = probe() else { return Ok(()) };
            if let Some(status) = self.child.try_wait()? {
                return Err(self.complaint(&format!("it ended with {status}")).into());
            }
            if begun.elapsed() > BOUND {
                return Err(self
                    .complaint(&format!("not ready after {} s: {error}", BOUND.as_secs()))
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

/// A free port of the loopback. Below the range from which the system picks ports for outgoing
/// connections, so that none of those can take it before the server does, and never the same one
/// twice.
pub(crate) fn free_port() -> Result<u16> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Two runs at once begin at different places.
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

/// Makes a new folder that every user may enter.
pub(crate) fn make_folder(folder: &Path) -> Result {
    fs::create_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Whether every user may pass through this folder and all above it.
pub(crate) fn all_may_pass(folder: &Path) -> bool {
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
    fn a_closed_folder_lets_nobody_pass() {
        let folder =
            std::env::temp_dir().join(format!("mocha-session-closed-{}", std::process::id()));
        make_folder(&folder).unwrap();
        let inner = folder.join("inner");
        make_folder(&inner).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!all_may_pass(&inner) && !all_may_pass(&folder.join("missing")));
        fs::remove_dir_all(&folder).unwrap();
    }
}
