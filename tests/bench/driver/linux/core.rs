//! One core for a client and its server, where the cost of one round is wanted.
//!
//! On two cores each would sleep while the other works, and waking a sleeping core costs more than
//! the round: whether it happens is the scheduler's choice, for a process's whole life, and moves
//! what is measured several times over.

use super::Result;
use procfs::process::Process;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// The last core that we may use; the first is the busiest with the system's own work.
pub(crate) fn last() -> Result<usize> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).rev();
    Ok(cores.find(|core| allowed.is_set(*core)).ok_or("no core may be used")?)
}

/// Something that is bound to a core as long as this lives, with all that it starts meanwhile.
#[derive(Debug)]
pub(crate) struct Bound {
    /// A process, or this thread.
    pid: Option<u32>,
    before: CpuSet,
}

impl Bound {
    pub(crate) fn process(core: usize, pid: u32) -> Result<Self> {
        Self::new(core, Some(pid))
    }

    /// This thread: what it starts begins on that core and stays there.
    pub(crate) fn thread(core: usize) -> Result<Self> {
        Self::new(core, None)
    }

    fn new(core: usize, pid: Option<u32>) -> Result<Self> {
        let mut one = CpuSet::new();
        one.set(core);
        let before = sched_getaffinity(number(pid))?;
        set(pid, &one)?;
        Ok(Self { pid, before })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = set(self.pid, &self.before) {
            eprintln!("error: something stays bound to one core: {error}");
        }
    }
}

/// For all threads of a process, or for this thread.
fn set(pid: Option<u32>, cores: &CpuSet) -> Result {
    let Some(pid) = pid else { return Ok(sched_setaffinity(None, cores)?) };
    for task in Process::new(pid.try_into()?)?.tasks()?.flatten() {
        sched_setaffinity(Pid::from_raw(task.tid), cores)?;
    }
    Ok(())
}

fn number(pid: Option<u32>) -> Option<Pid> {
    Pid::from_raw(pid?.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use mocha_session_servers::command;
    use std::process::Command;

    fn cores_of_a_child() -> String {
        let status = command::read(Command::new("cat").arg("/proc/self/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    }

    #[test]
    fn what_a_bound_thread_starts_runs_on_its_core_and_what_comes_later_does_not() {
        let before = cores_of_a_child();
        let core = last().unwrap();
        let bound = Bound::thread(core).unwrap();
        assert_eq!(cores_of_a_child(), core.to_string());
        drop(bound);
        assert_eq!(cores_of_a_child(), before);
    }
}
