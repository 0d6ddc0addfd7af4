//! Starting servers, the guard that stops them, and what `services` says.

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

pub use redis::ask;

use crate::{Result, command, in_ci, install};
use record::Record;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use table::{SERVICES, Service};

/// The hidden command of the guard; a program that starts servers hands it to [`guard`].
const GUARD: &str = "stop-servers-when-abandoned";
const KEEP: &[u8] = b"keep";

/// `services up`, `down`, `env` or `status`: the servers that stay while somebody works.
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

/// Is the guard, if this process was started as one. It waits until whoever holds the other end of
/// its standard input lets go, then stops what the record names. That end closes however its owner
/// ends: normally, with an error, by Ctrl-C, by a kill that nobody can catch.
pub fn guard() -> Option<Result> {
    let mut args = std::env::args_os().skip(1);
    args.next().filter(|word| word == OsStr::new(GUARD))?;
    let record = Record::at(args.next()?.into());
    let mut word = Vec::new();
    let heard = std::io::stdin().read_to_end(&mut word);
    Some(heard.map_err(Into::into).and_then(|_| if word == KEEP { Ok(()) } else { record.stop() }))
}

/// Servers that run, and whoever stops them at the end.
#[derive(Debug)]
pub struct Servers {
    variables: Vec<(String, String)>,
    record: Record,
    guard: Option<Child>,
}

impl Servers {
    /// All servers, for one run of the tests: those that are up already, or private ones.
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

    /// Some servers for one run, by their names: private ones always, for what is measured must not
    /// be shared.
    pub fn only(names: &[&str]) -> Result<Self> {
        clear_leftovers()?;
        Self::start(record_of_a_run()?, |service| names.contains(&service.name))
    }

    fn start(record: Record, wanted: impl Fn(&Service) -> bool) -> Result<Self> {
        let services = startable(wanted)?;
        let data = place::data_folder()?;
        record.begin(&data)?;
        // A process group of its own, so that Ctrl-C reaches us, and neither it nor the servers.
        let guard = Command::new(std::env::current_exe()?)
            .arg(GUARD)
            .arg(record.folder())
            .current_dir(record.folder())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        record.add("group", &[&guard.id().to_string()])?;
        let mut servers = Self { variables: Vec::new(), record, guard: Some(guard) };
        // From here on whatever returns early drops `servers`, and so stops what has been started.
        servers.variables = start_all(&services, &data, &servers.record)?;
        for (name, value) in &servers.variables {
            servers.record.add("variable", &[name, value])?;
        }
        servers.record.add("complete", &[])?;
        Ok(servers)
    }

    /// Names and values for the environment of the tests.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// The value of one of them; `None` where its server could not start here.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.as_str())
    }

    /// The process of a server, by its own name.
    pub fn pid(&self, server: &str) -> Result<Option<u32>> {
        self.record.pid(server)
    }

    /// Stops what was started for this run alone.
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

/// Where the records are: where cargo builds.
fn state() -> Result<PathBuf> {
    Ok(command::workspace()?.target_directory.join("services").into())
}

/// The beginning of the name of a run's record; the number of its process follows.
const RUN: &str = "run-";

fn record_of_a_run() -> Result<Record> {
    Ok(Record::at(state()?.join(format!("{RUN}{}", std::process::id()))))
}

/// Stops what earlier runs left, where their process and its guard are gone.
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

/// Starts all at once and collects what they say; one failure fails all, after all have been heard.
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

/// The services that can start here, after installing what can be installed. Of the others it says
/// what to do and which tests will not run; in CI that is an error.
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
