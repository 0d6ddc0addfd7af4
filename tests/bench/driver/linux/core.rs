//! One core for a client and its server, where the cost of one round is wanted.
//!
//! On two cores each would sleep while the other works, and waking a sleeping core costs more than
//! the round: whether it happens is the scheduler's choice, for a process's whole life, and moves
//! what is measured several times over.

use crate::{Result, command};
use std::fs;
use std::process::Command;

/// The last core that we may use; the first is the busiest with the system's own work.
pub(crate) fn last() -> Result<String> {
    let allowed = allowed()?;
    Ok(last_of(&allowed).ok_or_else(|| format!("no core in `{allowed}`"))?.to_owned())
}

/// The same command, bound to a core. Its process is the same one: `taskset` becomes what it
/// starts.
pub(crate) fn bind(command: &Command, core: &str) -> Result<Command> {
    let mut bound = command::program("taskset")?;
    bound.args(["--cpu-list", core]).arg(command.get_program()).args(command.get_args());
    bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ok(bound)
}

/// A server that is bound to a core as long as this lives, with all that it starts meanwhile.
#[derive(Debug)]
pub(crate) struct Bound(u32);

impl Bound {
    pub(crate) fn to(core: &str, pid: u32) -> Result<Self> {
        set(core, pid)?;
        Ok(Self(pid))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = allowed().and_then(|all| set(&all, self.0)) {
            eprintln!("error: a server stays bound to one core: {error}");
        }
    }
}

fn set(cores: &str, pid: u32) -> Result {
    let mut taskset = command::program("taskset")?;
    command::read(taskset.args(["--all-tasks", "--cpu-list", "--pid", cores, &pid.to_string()]))
        .map(drop)
}

/// The cores that we may use ourselves, as the kernel writes them: `0-3,6`.
fn allowed() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok(line.ok_or("the kernel does not say which cores we may use")?.trim().to_owned())
}

fn last_of(list: &str) -> Option<&str> {
    list.rsplit([',', '-']).next().filter(|core| core.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_last_core_of_a_list_is_found() {
        assert_eq!(
            ["0", "0-1", "0-3,6", "2,4-7"].map(last_of),
            [Some("0"), Some("1"), Some("6"), Some("7")]
        );
        assert_eq!(last_of(""), None);
    }

    #[test]
    fn a_bound_command_runs_on_its_core_and_keeps_its_environment() {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "grep Cpus_allowed_list /proc/self/status; echo $KEPT"])
            .env("KEPT", "kept");
        let core = last().unwrap();
        let says = command::read(&mut bind(&command, &core).unwrap()).unwrap();
        assert_eq!(says.split_whitespace().skip(1).collect::<Vec<_>>(), [core.as_str(), "kept"]);
    }
}
