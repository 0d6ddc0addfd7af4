//! The record of what was started: written as it happens, so that anyone can stop it later, and
//! nothing else.

use crate::{Result, command};
use std::fmt;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How the names of our folders of data begin; a folder named otherwise is never deleted.
pub(crate) const DATA_PREFIX: &str = "mocha-session-services-";

const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// A process, told from a later one with the same number by when it started (clock ticks since the
/// machine did).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
    started: u64,
}

impl Process {
    /// The living process with this number. Linux only: it is read from /proc.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
            .map(|started| Self { pid, started })
    }

    fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// A text that no other process and no earlier call has had.
    pub(crate) fn fresh_name() -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(format!("{}-{}", std::process::id(), now.as_nanos()))
    }
}

/// When a process started, from its line in /proc; `None` for a dead one that waits for its parent.
fn parse_stat(stat: &str) -> Option<u64> {
    // The program's name stands in parentheses and may hold anything, parentheses and spaces too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" { None } else { fields.nth(18)?.parse().ok() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Int,
    Term,
    Kill,
}

impl Signal {
    const ALL: [(Self, &str); 3] = [(Self::Int, "INT"), (Self::Term, "TERM"), (Self::Kill, "KILL")];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(signal, _)| *signal == self).map_or("TERM", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == name).map(|(signal, _)| *signal)
    }

    /// Sends it to these processes and all that they started: each leads a group of its own.
    fn send(self, processes: &[Process]) {
        if processes.is_empty() {
            return;
        }
        // The shell's own `kill`: a small system has no program of that name. It may fail for what
        // has just ended.
        let groups: Vec<String> =
            processes.iter().map(|process| format!("-{}", process.pid)).collect();
        command::works(Command::new("/bin/sh").arg("-c").arg(format!(
            "kill -s {} -- {}",
            self.name(),
            groups.join(" ")
        )));
    }
}

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Whose servers these are.
    Owner(Process),
    /// Where their data is.
    Data(PathBuf),
    Server {
        process: Process,
        signal: Signal,
        name: String,
    },
    /// What prepares something for a server and ends by itself.
    Helper(Process),
    Variable(String, String),
    /// All have started.
    Complete,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(Process { pid, started }) => write!(f, "owner\t{pid}\t{started}"),
            Self::Data(folder) => write!(f, "data\t{}", folder.display()),
            Self::Server { process: Process { pid, started }, signal, name } => {
                write!(f, "server\t{pid}\t{started}\t{}\t{name}", signal.name())
            }
            Self::Helper(Process { pid, started }) => write!(f, "helper\t{pid}\t{started}"),
            Self::Variable(name, value) => write!(f, "variable\t{name}\t{value}"),
            Self::Complete => write!(f, "complete"),
        }
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split('\t').collect();
        let process = |pid: &str, started: &str| {
            Some(Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
        };
        Some(match words.as_slice() {
            ["owner", pid, started] => Self::Owner(process(pid, started)?),
            ["data", folder] => Self::Data(folder.into()),
            ["server", pid, started, signal, name] => Self::Server {
                process: process(pid, started)?,
                signal: Signal::parse(signal)?,
                name: (*name).to_owned(),
            },
            ["helper", pid, started] => Self::Helper(process(pid, started)?),
            ["variable", name, value] => Self::Variable((*name).to_owned(), (*value).to_owned()),
            ["complete"] => Self::Complete,
            _ => return None,
        })
    }
}

/// What one start of services has started, in a folder of its own under target/.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    folder: PathBuf,
}

impl Record {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a new record, of ours.
    pub(crate) fn begin(&self, data: &Path) -> Result {
        fs::create_dir_all(&self.folder)?;
        self.add(&Entry::Data(data.to_path_buf()))?;
        let owner = Process::of(std::process::id())
            .ok_or("this system has no /proc: servers can be kept on Linux only")?;
        self.add(&Entry::Owner(owner))
    }

    /// Adds a line; safe from several threads, for each line is one write to a file open for
    /// appending.
    pub(crate) fn add(&self, entry: &Entry) -> Result {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.file())?;
        file.write_all(format!("{entry}\n").as_bytes())?;
        Ok(())
    }

    pub(crate) fn is_of_a_test(&self) -> bool {
        self.folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("test-"))
    }

    pub(crate) fn owner_lives(&self) -> Result<bool> {
        Ok(self
            .entries()?
            .iter()
            .any(|entry| matches!(entry, Entry::Owner(process) if process.lives())))
    }

    /// Whether all servers of this record have started and still live.
    pub(crate) fn is_up(&self) -> Result<bool> {
        let entries = self.entries()?;
        let dead =
            |entry: &Entry| matches!(entry, Entry::Server { process, .. } if !process.lives());
        Ok(entries.contains(&Entry::Complete) && !entries.iter().any(dead))
    }

    pub(crate) fn variables(&self) -> Result<Vec<(String, String)>> {
        let pair = |entry| {
            if let Entry::Variable(name, value) = entry { Some((name, value)) } else { None }
        };
        Ok(self.entries()?.into_iter().filter_map(pair).collect())
    }

    /// The process of the server with this name.
    pub(crate) fn pid(&self, server: &str) -> Result<Option<u32>> {
        let pid = |entry| match entry {
            Entry::Server { process, name, .. } if name == server => Some(process.pid),
            _ => None,
        };
        Ok(self.entries()?.into_iter().find_map(pid))
    }

    /// Stops the servers that still live, removes their data and the record. Nothing to do is fine.
    pub(crate) fn stop(&self) -> Result {
        let entries = self.entries()?;
        for (signal, _) in Signal::ALL {
            signal.send(
                &living(&entries)
                    .filter(|(_, other, _)| *other == signal)
                    .map(|(process, ..)| process)
                    .collect::<Vec<_>>(),
            );
        }
        if wait_for_end(&entries).is_err() {
            Signal::Kill.send(&living(&entries).map(|(process, ..)| process).collect::<Vec<_>>());
            wait_for_end(&entries)?;
        }
        for entry in &entries {
            if let Entry::Data(folder) = entry {
                remove_data(folder)?;
            }
        }
        remove(&self.folder)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("record")
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let text = match fs::read_to_string(self.file()) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{}: {error}", self.file().display()).into()),
        };
        // A line cut short by a crash is no entry.
        Ok(text.lines().filter_map(Entry::parse).collect())
    }
}

/// The processes that still live, each with the signal that ends it and its name.
fn living(entries: &[Entry]) -> impl Iterator<Item = (Process, Signal, &str)> {
    let processes = entries.iter().filter_map(|entry| match entry {
        Entry::Server { process, signal, name } => Some((*process, *signal, name.as_str())),
        Entry::Helper(process) => Some((*process, Signal::Kill, "a helper")),
        _ => None,
    });
    processes.filter(|(process, ..)| process.lives())
}

/// Waits until all processes have ended, as long as patience lasts.
fn wait_for_end(entries: &[Entry]) -> Result {
    let begun = Instant::now();
    while living(entries).next().is_some() {
        if begun.elapsed() > PATIENCE {
            let left: Vec<_> = living(entries)
                .map(|(Process { pid, .. }, _, name)| format!("{name} (pid {pid})"))
                .collect();
            return Err(format!("these processes do not end: {}", left.join(", ")).into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn remove_data(folder: &Path) -> Result {
    let ours =
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DATA_PREFIX));
    if ours {
        remove(folder)
    } else {
        Err(format!("{} is no folder of ours", folder.display()).into())
    }
}

fn remove(folder: &Path) -> Result {
    let begun = Instant::now();
    loop {
        match fs::remove_dir_all(folder) {
            // What a helper had started may write for a moment after it was killed.
            Err(error)
                if error.kind() == ErrorKind::DirectoryNotEmpty && begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(format!("{}: {error}", folder.display()).into());
            }
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;

    fn scratch() -> PathBuf {
        std::env::temp_dir().join(format!("{DATA_PREFIX}{}", Process::fresh_name().unwrap()))
    }

    #[test]
    fn entries_survive_being_written() {
        let process = Process { pid: 7, started: 99 };
        let entries = [
            Entry::Owner(process),
            Entry::Data("/tmp/a b".into()),
            Entry::Server { process, signal: Signal::Int, name: "postgres".into() },
            Entry::Helper(process),
            Entry::Variable("A".into(), "redis://u:p@h/?a=b".into()),
            Entry::Complete,
        ];
        for entry in entries {
            assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        }
        for cut in ["", "server\t7", "server\t7\t99\tINT", "owner\tx\t1", "other\tthing"] {
            assert_eq!(Entry::parse(cut), None, "{cut}");
        }
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let numbers = (4..22).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let line = |name: &str, state: &str| format!("7 ({name}) {state} {numbers} 12345 9 9");
        assert_eq!(parse_stat(&line("redis) S 1 (x", "S")), Some(12345));
        assert_eq!(parse_stat(&line("gone", "Z")), None);
        assert_eq!(parse_stat("7 (cut"), None);
    }

    #[test]
    fn a_process_of_another_start_is_not_ours() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.lives());
        assert!(!Process { started: me.started + 1, ..me }.lives());
    }

    #[test]
    fn stop_ends_what_is_recorded_and_only_that() {
        let sleep = || {
            Command::new("sleep").arg("60").stdin(Stdio::null()).process_group(0).spawn().unwrap()
        };
        let (mut ours, mut other, mut impostor) = (sleep(), sleep(), sleep());
        let data = scratch();
        fs::create_dir(&data).unwrap();
        let record = Record::at(data.join("record-of-test"));
        record.begin(&data).unwrap();
        let process = Process::of(ours.id()).unwrap();
        record.add(&Entry::Server { process, signal: Signal::Term, name: "sleep".into() }).unwrap();
        assert_eq!(
            (record.pid("sleep").unwrap(), record.pid("other").unwrap()),
            (Some(ours.id()), None)
        );
        let reused = Process { started: 1, ..Process::of(impostor.id()).unwrap() };
        record
            .add(&Entry::Server { process: reused, signal: Signal::Term, name: "reused".into() })
            .unwrap();
        assert!(record.owner_lives().unwrap() && !record.is_up().unwrap());
        record.stop().unwrap();
        assert!(ours.try_wait().unwrap().is_some(), "ours has ended");
        for process in [&mut other, &mut impostor] {
            assert!(process.try_wait().unwrap().is_none(), "a stranger lives");
            process.kill().unwrap();
            process.wait().unwrap();
        }
        assert!(!data.exists() && record.stop().is_ok(), "stopping twice is fine");
    }

    #[test]
    fn a_folder_that_is_not_ours_is_never_deleted() {
        let folder =
            std::env::temp_dir().join(format!("somebody-elses-{}", Process::fresh_name().unwrap()));
        fs::create_dir(&folder).unwrap();
        assert!(remove_data(&folder).is_err() && folder.exists());
        fs::remove_dir(&folder).unwrap();
    }
}
