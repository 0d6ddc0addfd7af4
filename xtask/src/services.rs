//! The servers that tests need, as private processes on free ports of the loopback, and nothing of
//! them left behind.

mod certificates;
mod memcached;
mod place;
mod record;
mod redis;
mod s3;
mod sql;
mod table;
mod tree;
pub(crate) mod wire;

use crate::metadata::Workspace;
use crate::{Result, install};
use record::{Entry, Process, Record};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use table::{SERVICES, Service};

/// The hidden command of the process that stops servers when whoever started them is gone.
pub(crate) const GUARD: &str = "stop-when-abandoned";
const KEEP: &[u8] = b"keep";

/// `services up`: starts them to stay, if they aren't there yet.
pub(crate) fn up() -> Result {
    let folders = Folders::read()?;
    let record = Record::at(folders.state.join("up"));
    if record.is_up()? {
        println!("the services are up already");
    } else if record.owner_lives()? {
        return Err("another `services up` is under way".into());
    } else {
        record.stop()?;
        Running::start(record, |_| true)?.release()?;
    }
    println!(
        "eval \"$(cargo xtask services env)\" tells your shell where they are; `cargo xtask services down` stops them"
    );
    Ok(())
}

/// `services down`.
pub(crate) fn down() -> Result {
    let folders = Folders::read()?;
    folders.clear_leftovers()?;
    Record::at(folders.state.join("up")).stop()
}

/// `services env`: lines for a shell.
pub(crate) fn env() -> Result {
    let record = Record::at(Folders::read()?.state.join("up"));
    if !record.is_up()? {
        return Err("the services are not up: `cargo xtask services up`".into());
    }
    for (name, value) in record.variables()? {
        println!("export {name}='{value}'");
    }
    Ok(())
}

/// The servers for one run of the tests: those that are up already, or private ones.
pub(crate) fn for_tests() -> Result<Running> {
    let folders = Folders::read()?;
    folders.clear_leftovers()?;
    let up = Record::at(folders.state.join("up"));
    let variables = up.variables()?;
    let all = || {
        SERVICES
            .iter()
            .flat_map(|service| service.variables)
            .all(|name| variables.iter().any(|(set, _)| set == name))
    };
    if up.is_up()? && (all() || !in_ci()) {
        println!("using the services that are up");
        return Ok(Running { variables, record: up, guard: None });
    }
    Running::start(folders.record_of_a_run(), |_| true)
}

/// Some servers for one run, by their names: private ones always, for what is measured must not be
/// shared.
pub(crate) fn only(names: &[&str]) -> Result<Running> {
    let folders = Folders::read()?;
    folders.clear_leftovers()?;
    Running::start(folders.record_of_a_run(), |service| names.contains(&service.name))
}

/// Waits until whoever holds the other end of our standard input lets go, then stops what the
/// record names. That end closes however its owner ends: normally, with an error, by Ctrl-C, by a
/// kill that nobody can catch.
pub(crate) fn guard(folder: &str) -> Result {
    let mut word = Vec::new();
    std::io::stdin().read_to_end(&mut word)?;
    if word == KEEP { Ok(()) } else { Record::at(folder.into()).stop() }
}

/// Servers that run, and whoever stops them at the end.
pub(crate) struct Running {
    variables: Vec<(String, String)>,
    record: Record,
    guard: Option<Child>,
}

impl Running {
    fn start(record: Record, wanted: impl Fn(&Service) -> bool) -> Result<Self> {
        let services = startable(wanted)?;
        let data = data_folder()?;
        record.begin(&data)?;
        let executable = std::env::current_exe()?;
        // A process group of its own, so that Ctrl-C reaches us and not the guard.
        let guard = Command::new(executable)
            .args(["services", GUARD])
            .arg(record.folder())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut running = Self { variables: Vec::new(), record, guard: Some(guard) };
        // From here on whatever returns early drops `running`, and so stops what has been started.
        running.variables = start_all(&services, &data, &running.record)?;
        for (name, value) in &running.variables {
            running.record.add(&Entry::Variable(name.clone(), value.clone()))?;
        }
        running.record.add(&Entry::Complete)?;
        Ok(running)
    }

    /// Names and values for the environment of the tests.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// The value of one of them; `None` where its server could not start here.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.as_str())
    }

    /// The process of a server, the first of those that it consists of.
    pub(crate) fn pid(&self, server: &str) -> Result<Option<u32>> {
        self.record.pid(server)
    }

    /// Stops what was started for this run alone.
    pub(crate) fn stop(mut self) -> Result {
        self.dismiss(b"")
    }

    /// Leaves the servers running.
    fn release(mut self) -> Result {
        self.dismiss(KEEP)
    }

    fn dismiss(&mut self, word: &[u8]) -> Result {
        let Some(mut guard) = self.guard.take() else { return Ok(()) };
        if let Some(mut input) = guard.stdin.take() {
            input.write_all(word)?;
        }
        if guard.wait()?.success() {
            Ok(())
        } else {
            Err("not all servers could be stopped".into())
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.dismiss(b"") {
            eprintln!("error: {error}");
        }
    }
}

/// What we keep where cargo builds.
struct Folders {
    state: PathBuf,
}

impl Folders {
    fn read() -> Result<Self> {
        Ok(Self { state: Workspace::read()?.target.join("services") })
    }

    /// Where one run of ours keeps what it starts.
    fn record_of_a_run(&self) -> Record {
        Record::at(self.state.join(format!("test-{}", std::process::id())))
    }

    /// Stops what earlier runs of the tests left, where their process and its guard are gone.
    fn clear_leftovers(&self) -> Result {
        for entry in fs::read_dir(&self.state).into_iter().flatten() {
            let record = Record::at(entry?.path());
            if record.is_of_a_test() && !record.owner_lives()? {
                record.stop()?;
            }
        }
        Ok(())
    }
}

/// Starts all at once and collects what they say; one failure fails all, after all have been heard.
fn start_all(services: &[&Service], data: &Path, record: &Record) -> Result<Vec<(String, String)>> {
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            services.iter().map(|service| scope.spawn(|| service.start(data, record))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    let (mut variables, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(more) => variables.extend(more),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(variables) } else { Err(errors.join("\n").into()) }
}

/// The services that can start here, after installing what can be installed. Of the others it says
/// what to do and which tests will not run; in CI that is an error.
fn startable(wanted: impl Fn(&Service) -> bool) -> Result<Vec<&'static Service>> {
    let services = || SERVICES.iter().filter(|service| wanted(service));
    let lacking = |services: &mut dyn Iterator<Item = &'static Service>| -> BTreeSet<&'static str> {
        services
            .filter(|service| !service.lacks().is_empty())
            .flat_map(|service| service.packages)
            .copied()
            .collect()
    };
    let packages = lacking(&mut services());
    if !packages.is_empty() && install::can_install() {
        install::debian(&packages.into_iter().collect::<Vec<_>>())?;
    }
    let (mut ready, mut left_out) = (Vec::new(), Vec::new());
    for service in services() {
        let mut why = service.lacks();
        if why.is_empty() {
            why.extend(service.install().err().map(|error| error.to_string()));
        }
        if !cfg!(target_os = "linux") {
            why.push("Linux".to_owned());
        }
        if why.is_empty() {
            ready.push(service);
        } else {
            left_out.push(format!(
                "{} ({}) for want of {}",
                service.variables.join(", "),
                service.name,
                why.join(", ")
            ));
        }
    }
    if left_out.is_empty() {
        return Ok(ready);
    }
    let packages: Vec<&str> = lacking(&mut services()).into_iter().collect();
    let advice = if packages.is_empty() {
        String::new()
    } else {
        format!("\nto install, {}", install::advice(&packages))
    };
    let says = format!("what needs these servers cannot run:\n  {}{advice}", left_out.join("\n  "));
    if in_ci() {
        return Err(says.into());
    }
    eprintln!("NOT RUN: {says}");
    Ok(ready)
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty())
}

/// A new folder that servers running as other users can reach: every folder above it lets them
/// pass.
fn data_folder() -> Result<PathBuf> {
    let name = format!("{}{}", record::DATA_PREFIX, Process::fresh_name()?);
    let candidates = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let base = candidates
        .iter()
        .find(|folder| place::all_may_pass(folder))
        .ok_or("no temporary folder is open to all users")?;
    let folder = base.join(name);
    place::make_folder(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_data_folder_is_new_and_open_to_other_users() {
        let (one, two) = (data_folder().unwrap(), data_folder().unwrap());
        assert!(one != two && place::all_may_pass(&one));
        for folder in [one, two] {
            fs::remove_dir(folder).unwrap();
        }
    }
}
