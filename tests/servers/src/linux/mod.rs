//! Starts servers, guards them, and implements the command `services`.

mod certificates;
mod chromium;
mod memcached;
mod place;
mod record;
mod redis;
mod s3;
mod sql;
mod table;
mod tree;

use crate::{Result, command, in_ci, install};
use record::Record;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use table::{SERVICES, Service};

/// The hidden command of the guard. A program that starts servers passes it to [`guard`].
const GUARD: &str = "stop-servers-when-abandoned";
const KEEP: &[u8] = b"keep";

/// Runs `services up`, `down`, `env` or `status`, for servers that keep running during development.
pub fn services(what: &str) -> Result {
    let record = Record::at(state()?.join("up"));
    let is_up = record.is_up()?;
    match what {
        "up" if is_up => println!("the services are up already"),
        "up" if record.is_guarded()? => return Err("another `services up` is under way".into()),
        "up" => {
            record.stop()?;
            Servers::start(record, |_| true)?.dismiss(KEEP)?;
            println!(
                "eval \"$(cargo xtask services env)\" tells your shell where they are; `cargo xtask services down` stops them"
            );
        }
        "down" => {
            clear_leftovers()?;
            record.stop()?;
        }
        "env" | "status" if !is_up => {
            return Err("the services are not up: `cargo xtask services up`".into());
        }
        "env" => {
            let lines = record.variables()?.into_iter();
            lines.for_each(|(name, value)| println!("export {name}='{value}'"));
        }
        "status" => {
            record.lines("server")?.iter().for_each(|server| println!("{}", server.join(" ")));
        }
        _ => return Err(format!("services: up, down, env or status, not `{what}`").into()),
    }
    Ok(())
}

/// Runs the guard, if this process was started as one. It waits until its standard input is closed,
/// and then stops the servers in the record. The operating system closes it however the owner ends:
/// normally, with an error, by Ctrl-C, or by a kill signal.
pub fn guard() -> Option<Result> {
    let mut args = std::env::args_os().skip(1);
    args.next().filter(|word| word == OsStr::new(GUARD))?;
    let record = Record::at(args.next()?.into());
    let mut word = Vec::new();
    let heard = std::io::stdin().read_to_end(&mut word);
    Some(heard.map_err(Into::into).and_then(|_| if word == KEEP { Ok(()) } else { record.stop() }))
}

/// Running servers, which are stopped when this is dropped.
#[derive(Debug)]
pub struct Servers {
    variables: Vec<(String, String)>,
    record: Record,
    guard: Option<Child>,
}

impl Servers {
    /// Starts all servers for one test run, or uses those that are already up.
    pub fn for_tests() -> Result<Self> {
        clear_leftovers()?;
        let record = Record::at(state()?.join("up"));
        let variables = record.variables()?;
        let is_set = |name: &str| variables.iter().any(|(set, _)| set == name);
        if record.is_up()? && (!in_ci() || SERVICES.iter().flat_map(Service::variables).all(is_set))
        {
            println!("using the services that are up");
            return Ok(Self { variables, record, guard: None });
        }
        Self::start(record_of_a_run()?, |_| true)
    }

    /// Starts servers for one run, by their names. They are always private, because a benchmark's
    /// servers must not be shared.
    pub fn only(names: &[&str]) -> Result<Self> {
        clear_leftovers()?;
        Self::start(record_of_a_run()?, |service| names.contains(&service.name))
    }

    fn start(record: Record, wanted: impl Fn(&Service) -> bool) -> Result<Self> {
        let services = startable(wanted)?;
        let data = place::data_folder()?;
        record.begin(&data)?;
        // A separate process group, so that Ctrl-C reaches this process but neither the guard nor
        // the servers.
        let guard = Command::new(std::env::current_exe()?)
            .arg(GUARD)
            .arg(record.folder())
            .current_dir(record.folder())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        record.add("group", &[&guard.id().to_string()])?;
        let mut servers = Self { variables: Vec::new(), record, guard: Some(guard) };
        // From here on, an early return drops `servers` and so stops the started servers.
        servers.variables = start_all(&services, &data, &servers.record)?;
        for (name, value) in &servers.variables {
            servers.record.add("variable", &[name, value])?;
        }
        servers.record.add("complete", &[])?;
        Ok(servers)
    }

    /// Returns names and values for the environment of the tests.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Returns the value of one of them, or `None` if its server could not start here.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.as_str())
    }

    /// Returns the process of a server, by the server's own name.
    pub fn pid(&self, server: &str) -> Result<Option<u32>> {
        self.record.pid(server)
    }

    /// Stops the servers that were started only for this run.
    pub fn stop(mut self) -> Result {
        self.dismiss(b"")
    }

    fn dismiss(&mut self, word: &[u8]) -> Result {
        let Some(mut guard) = self.guard.take() else { return Ok(()) };
        if let Some(mut input) = guard.stdin.take() {
            input.write_all(word)?;
        }
        if guard.wait()?.success() { Ok(()) } else { Err("not all servers were stopped".into()) }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Err(error) = self.dismiss(b"") {
            eprintln!("error: {error}");
        }
    }
}

/// Returns the folder of the records, in cargo's target folder.
fn state() -> Result<PathBuf> {
    Ok(command::workspace()?.target_directory.join("services").into())
}

/// The prefix of a run's record. The number of its process follows.
const RUN: &str = "run-";

fn record_of_a_run() -> Result<Record> {
    Ok(Record::at(state()?.join(format!("{RUN}{}", std::process::id()))))
}

/// Stops the servers that earlier runs left, if their process and its guard have ended.
fn clear_leftovers() -> Result {
    for entry in std::fs::read_dir(state()?).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(RUN)) else { continue };
        let record = Record::at(entry.path());
        if !Path::new("/proc").join(owner).exists() && !record.is_guarded()? {
            record.stop()?;
        }
    }
    Ok(())
}

/// Starts all services concurrently and collects their variables. If one fails, the result is an
/// error, but only after all have ended their start.
fn start_all(services: &[&Service], data: &Path, record: &Record) -> Result<Vec<(String, String)>> {
    let results: Vec<_> = std::thread::scope(|scope| {
        let start = |service| scope.spawn(move || Service::start(service, data, record));
        let threads: Vec<_> = services.iter().copied().map(start).collect();
        let heard = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        heard.map(|result| result.unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
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

/// Returns the services that can start here, after installing missing software. For the others,
/// prints how to install them and which tests will not run. In CI that is an error.
fn startable(wanted: impl Fn(&Service) -> bool) -> Result<Vec<&'static Service>> {
    let services = || SERVICES.iter().filter(|service| wanted(service));
    let lacking = || -> Vec<&str> {
        let incomplete = services().filter(|service| !service.lacks().is_empty());
        let packages: BTreeSet<_> = incomplete.flat_map(Service::packages).collect();
        packages.into_iter().collect()
    };
    let packages = lacking();
    if !packages.is_empty() && install::can_install() {
        install::debian(&packages)?;
    }
    let (mut ready, mut left_out) = (Vec::new(), Vec::new());
    for service in services() {
        let mut why = service.lacks();
        if why.is_empty() {
            why.extend(service.install().err().map(|error| error.to_string()));
        }
        if why.is_empty() {
            ready.push(service);
        } else {
            let variables: Vec<_> = service.variables().collect();
            let (variables, why) = (variables.join(", "), why.join(", "));
            left_out.push(format!("{variables} ({}) for want of {why}", service.name));
        }
    }
    if left_out.is_empty() {
        return Ok(ready);
    }
    let mut says = format!("what needs these servers cannot run:\n  {}", left_out.join("\n  "));
    let packages = lacking();
    if !packages.is_empty() {
        says = format!("{says}\nto install, {}", install::advice(&packages));
    }
    if in_ci() {
        return Err(says.into());
    }
    eprintln!("NOT RUN: {says}");
    Ok(ready)
}
