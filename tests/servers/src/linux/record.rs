//! The record of started servers, written to a file line by line, so that any later process can
//! stop exactly these servers.
//!
//! ```text
//! folder PATH           data, removed in the end
//! group NUMBER          the process group that everything is in, and the guard that leads it
//! root PATH             where a server's own root folder is, if it has one
//! server NAME NUMBER
//! variable NAME VALUE
//! complete              all have started
//! ```

use crate::Result;
use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The prefix of our data folders' names. A folder with another name is never deleted.
pub(super) const DATA_PREFIX: &str = "mocha-session-services-";

/// The maximum time for PostgreSQL to shut down, and then for all processes to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The record of one start of servers, in its own folder under target/.
#[derive(Debug, Clone)]
pub(super) struct Record {
    folder: PathBuf,
}

impl Record {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a new record, with this data folder.
    pub(super) fn begin(&self, data: &Path) -> Result {
        fs::create_dir_all(&self.folder)?;
        self.add("folder", &[&data.to_string_lossy()])
    }

    /// Adds a line. Several threads may call it, because each line is one write to a file in append
    /// mode.
    pub(super) fn add(&self, kind: &str, words: &[&str]) -> Result {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.file())?;
        let line = [&[kind], words].concat().join("\t");
        Ok(file.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Returns the words of every line of a kind. A line that a crash truncated has fewer.
    pub(super) fn lines(&self, kind: &str) -> Result<Vec<Vec<String>>> {
        let text = match fs::read_to_string(self.file()) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| format!("{}: {error}", self.file().display()))?,
        };
        let lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect());
        let of_kind = lines.filter(|line: &Vec<String>| line[0] == kind);
        Ok(of_kind.map(|line| line[1..].to_vec()).collect())
    }

    pub(super) fn variables(&self) -> Result<Vec<(String, String)>> {
        let lines = self.lines("variable")?.into_iter();
        Ok(lines.filter_map(|line| <[_; 2]>::try_from(line).ok().map(Into::into)).collect())
    }

    /// Returns the process of the server with this name.
    pub(super) fn pid(&self, server: &str) -> Result<Option<u32>> {
        Ok(self.servers()?.into_iter().find(|(name, _)| name == server).map(|(_, pid)| pid))
    }

    /// Returns whether the guard is alive, which means that the owner of these servers still needs
    /// them.
    pub(super) fn is_guarded(&self) -> Result<bool> {
        let Some(group) = self.group()? else { return Ok(false) };
        let folder = fs::canonicalize(&self.folder)?;
        Ok(Process::new(group).and_then(|guard| guard.cwd()).is_ok_and(|cwd| cwd == folder))
    }

    /// Returns whether all servers of this record have started and are alive.
    pub(super) fn is_up(&self) -> Result<bool> {
        let living = self.processes()?;
        let lives =
            |pid: &u32| living.iter().any(|(other, _)| i64::from(*other) == i64::from(*pid));
        let complete = !self.lines("complete")?.is_empty();
        Ok(complete && self.servers()?.iter().all(|(_, pid)| lives(pid)))
    }

    /// Stops all living processes, and removes the data and the record. It succeeds if there is
    /// nothing to do.
    pub(super) fn stop(&self) -> Result {
        let begun = Instant::now();
        loop {
            let living = self.processes()?;
            if living.is_empty() {
                break;
            }
            if begun.elapsed() > PATIENCE * 2 {
                return Err(format!("these processes do not end: {living:?}").into());
            }
            for (pid, program) in living {
                // PostgreSQL has to release shared memory. The other servers keep their data only
                // in folders that are removed.
                let in_order = program == "postgres" && begun.elapsed() < PATIENCE;
                let signal = if in_order { Signal::INT } else { Signal::KILL };
                // It may have ended in the meantime.
                _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
            }
            std::thread::sleep(PAUSE);
        }
        for folder in self.paths("folder")? {
            remove_data(&folder)?;
        }
        remove(&self.folder)
    }

    /// Returns the living processes of the group without the guard, each with its program's name. A
    /// later process group with the same number is recognised by its other working folders.
    fn processes(&self) -> Result<Vec<(i32, String)>> {
        let Some(group) = self.group()? else { return Ok(Vec::new()) };
        let folders = [self.paths("folder")?, self.paths("root")?].concat();
        let ours = |process: Process| {
            let (stat, cwd) = (process.stat().ok()?, process.cwd().ok()?);
            let cwd = PathBuf::from(cwd.to_string_lossy().trim_end_matches(" (deleted)"));
            let here = folders.iter().any(|folder| cwd.starts_with(folder));
            (stat.pgrp == group && stat.pid != group && here).then_some((stat.pid, stat.comm))
        };
        Ok(all_processes()?.flatten().filter_map(ours).collect())
    }

    pub(super) fn group(&self) -> Result<Option<i32>> {
        Ok(self.lines("group")?.first().and_then(|line| line.first()?.parse().ok()))
    }

    fn servers(&self) -> Result<Vec<(String, u32)>> {
        let lines = self.lines("server")?.into_iter();
        Ok(lines.filter_map(|line| Some((line[0].clone(), line.get(1)?.parse().ok()?))).collect())
    }

    fn paths(&self, kind: &str) -> Result<Vec<PathBuf>> {
        Ok(self.lines(kind)?.iter().filter_map(|line| line.first().map(Into::into)).collect())
    }

    fn file(&self) -> PathBuf {
        self.folder.join("record")
    }
}

fn remove_data(folder: &Path) -> Result {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with(DATA_PREFIX) {
        remove(folder)
    } else {
        Err(format!("{} is no folder of ours", folder.display()).into())
    }
}

fn remove(folder: &Path) -> Result {
    let begun = Instant::now();
    loop {
        match fs::remove_dir_all(folder) {
            // A process that the server started may still write for a moment after it was killed.
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
    use super::super::place::data_folder;
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    #[test]
    fn lines_survive_being_written_and_cut_ones_are_ignored() {
        let data = data_folder().unwrap();
        let record = Record::at(data.join("record"));
        assert!(record.variables().unwrap().is_empty() && !record.is_up().unwrap());
        record.begin(&data).unwrap();
        record.add("variable", &["A", "redis://u:p@h/?a=b c"]).unwrap();
        record.add("server", &["redis", "7"]).unwrap();
        fs::write(record.file(), fs::read_to_string(record.file()).unwrap() + "server\tcut")
            .unwrap();
        assert_eq!(record.variables().unwrap(), [("A".into(), "redis://u:p@h/?a=b c".into())]);
        let pids = ["redis", "cut", "other"].map(|name| record.pid(name).unwrap());
        assert_eq!(pids, [Some(7), None, None]);
        record.stop().unwrap();
        assert!(!data.exists() && record.stop().is_ok(), "stopping twice is fine");
    }

    fn sleep(group: i32, folder: &Path) -> Child {
        Command::new("sleep").arg("60").process_group(group).current_dir(folder).spawn().unwrap()
    }

    #[test]
    fn stop_ends_the_group_and_only_that() {
        let data = data_folder().unwrap();
        let record = Record::at(data.join("record"));
        record.begin(&data).unwrap();
        let mut guard = sleep(0, record.folder());
        let group = i32::try_from(guard.id()).unwrap();
        record.add("group", &[&group.to_string()]).unwrap();
        let mut ours = sleep(group, &data);
        // One process of another group, and one elsewhere, as in a later group with the same
        // number.
        let (mut other, mut impostor) = (sleep(0, &data), sleep(group, Path::new("/")));
        record.add("server", &["sleep", &ours.id().to_string()]).unwrap();
        assert!(record.is_guarded().unwrap() && !record.is_up().unwrap());
        record.add("complete", &[]).unwrap();
        assert!(record.is_up().unwrap());
        record.stop().unwrap();
        assert!(ours.try_wait().unwrap().is_some(), "ours has ended");
        for process in [&mut guard, &mut other, &mut impostor] {
            assert!(process.try_wait().unwrap().is_none(), "a stranger lives");
            process.kill().unwrap();
            process.wait().unwrap();
        }
        assert!(!data.exists());
    }

    #[test]
    fn a_folder_that_is_not_ours_is_never_deleted() {
        let folder = std::env::temp_dir().join(format!("somebody-elses-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        assert!(remove_data(&folder).is_err() && folder.exists());
        fs::remove_dir(&folder).unwrap();
    }
}
