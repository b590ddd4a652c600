//! CPU topology, and the CPUs on which server and client run.

use std::collections::BTreeSet;
use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::result::CpuPlacement;

/// The CPUs that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Each CPU with its core and NUMA node.
    pub cpus: Vec<Cpu>,
}

/// A logical CPU: one hardware thread of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub number: usize,
    /// Its physical package and core.
    pub core: (usize, usize),
    /// Its NUMA node.
    pub node: usize,
}

impl Topology {
    /// Reads the topology from sysfs.
    pub fn read() -> Self {
        let numbers = allowed_cpus();
        Self { cpus: numbers.into_iter().map(Cpu::read).collect() }
    }

    fn cpu(&self, number: usize) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.number == number)
    }

    fn share_a_core(&self, one: usize, other: usize) -> bool {
        one == other
            || matches!((self.cpu(one), self.cpu(other)), (Some(a), Some(b)) if a.core == b.core)
    }
}

impl Cpu {
    fn read(number: usize) -> Self {
        let directory = format!("/sys/devices/system/cpu/cpu{number}");
        let read = |name: &str| -> Option<usize> {
            fs::read_to_string(format!("{directory}/topology/{name}")).ok()?.trim().parse().ok()
        };
        let package = read("physical_package_id").unwrap_or(0);
        let node = fs::read_dir(&directory).ok().and_then(|entries| {
            entries
                .flatten()
                .find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok())
        });
        // Without topology in sysfs, each CPU counts as a core.
        let core = (package, read("core_id").unwrap_or(number));
        Self { number, core, node: node.unwrap_or(0) }
    }
}

/// Returns the CPUs that the calling thread may use.
pub fn allowed_cpus() -> Vec<usize> {
    sched_getaffinity(None)
        .map(|set| (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
        .unwrap_or_default()
}

/// Pins the calling thread, and the threads and processes that it starts later, to these CPUs.
///
/// # Errors
/// If a CPU does not exist or is not allowed.
pub fn pin(cpus: &[usize]) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    sched_setaffinity(None, &set)
}

/// Chooses CPUs for a server with `server_threads` threads and for a client with one thread. CPUs
/// that are given remain.
///
/// # Errors
/// If a given CPU is not one of the topology.
pub fn choose_placement(
    topology: &Topology,
    server_threads: usize,
    server: Option<Vec<usize>>,
    client: Option<Vec<usize>>,
) -> Result<CpuPlacement, String> {
    for cpu in server.iter().chain(&client).flatten() {
        if topology.cpu(*cpu).is_none() {
            let available: Vec<_> =
                topology.cpus.iter().map(|cpu| cpu.number.to_string()).collect();
            return Err(format!(
                "CPU {cpu} is not available to this process. Use some of {}",
                available.join(", ")
            ));
        }
    }
    let given = server.is_some() || client.is_some();
    let client_cpus = client.unwrap_or_else(|| choose_client(topology, server.as_deref()));
    let server_cpus =
        server.unwrap_or_else(|| choose_server(topology, server_threads, &client_cpus));
    let shares_core = server_cpus
        .iter()
        .any(|&one| client_cpus.iter().any(|&other| topology.share_a_core(one, other)));
    let reason = match (given, shares_core) {
        (_, true) if topology.cpus.len() == 1 => {
            "only one CPU is available, so server and client share it: only CPU per request can be \
             compared"
        }
        (_, true) => "server and client share a core: only CPU per request can be compared",
        (true, false) => "given on the command line",
        (false, false) => {
            "the client on the first CPU, the server on other cores, if possible of the same NUMA node"
        }
    };
    Ok(CpuPlacement { server_cpus, client_cpus, shares_core, reason: reason.to_owned() })
}

/// Chooses the first CPU whose core the server does not use. On many machines the first CPU handles
/// most device interrupts, so it is left to the client.
fn choose_client(topology: &Topology, server: Option<&[usize]>) -> Vec<usize> {
    let server = server.unwrap_or_default();
    let free = |cpu: &&Cpu| !server.iter().any(|&other| topology.share_a_core(cpu.number, other));
    let cpu = topology.cpus.iter().find(free).or(topology.cpus.first());
    cpu.map(|cpu| cpu.number).into_iter().collect()
}

/// Chooses one CPU of each core that the client does not use: cores of its NUMA node first, highest
/// numbers first. A second CPU of a core is used only if there are too few cores.
fn choose_server(topology: &Topology, threads: usize, client: &[usize]) -> Vec<usize> {
    let client_node = client.first().and_then(|&cpu| topology.cpu(cpu)).map(|cpu| cpu.node);
    let mut free: Vec<&Cpu> = topology
        .cpus
        .iter()
        .rev()
        .filter(|cpu| !client.iter().any(|&other| topology.share_a_core(cpu.number, other)))
        .collect();
    free.sort_by_key(|cpu| Some(cpu.node) != client_node);
    let mut cores = BTreeSet::new();
    let (first, second): (Vec<&Cpu>, Vec<&Cpu>) =
        free.into_iter().partition(|cpu| cores.insert(cpu.core));
    let mut chosen: Vec<usize> =
        first.into_iter().chain(second).take(threads).map(|cpu| cpu.number).collect();
    if chosen.is_empty() {
        chosen = client.to_vec();
    }
    chosen.sort_unstable();
    chosen
}

/// Parses a CPU list such as `0,2-4`.
///
/// # Errors
/// If the text is not a CPU list, or a number is too large.
pub fn parse_cpu_list(text: &str) -> Result<Vec<usize>, String> {
    let problem = || format!("`{text}` is not a list of CPUs such as 1 or 0,2-4");
    let mut cpus = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| problem());
        let range = number(first)?..=number(last)?;
        if range.is_empty() || *range.end() >= CpuSet::MAX_CPU {
            return Err(problem());
        }
        cpus.extend(range);
    }
    Ok(cpus.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpus: usize, threads_per_core: usize, cores_per_node: usize) -> Topology {
        // Linux numbers one thread of each core first, then the second threads.
        let cores = cpus / threads_per_core;
        let cpu = |number: usize| {
            let core = number % cores;
            Cpu { number, core: (0, core), node: core / cores_per_node }
        };
        Topology { cpus: (0..cpus).map(cpu).collect() }
    }

    fn placed(topology: &Topology, threads: usize) -> (Vec<usize>, Vec<usize>, bool) {
        let placement = choose_placement(topology, threads, None, None).unwrap();
        (placement.server_cpus, placement.client_cpus, placement.shares_core)
    }

    #[test]
    fn server_and_client_use_different_cores() {
        assert_eq!(placed(&machine(2, 1, 2), 1), (vec![1], vec![0], false));
        assert_eq!(placed(&machine(8, 1, 8), 4), (vec![4, 5, 6, 7], vec![0], false));
    }

    #[test]
    fn server_avoids_the_core_of_the_client() {
        // Two cores with two threads each: 0 and 2, 1 and 3.
        assert_eq!(placed(&machine(4, 2, 2), 1), (vec![3], vec![0], false));
        assert_eq!(placed(&machine(4, 2, 2), 4), (vec![1, 3], vec![0], false));
    }

    #[test]
    fn server_prefers_the_numa_node_of_the_client() {
        assert_eq!(placed(&machine(8, 1, 4), 2), (vec![2, 3], vec![0], false));
        assert_eq!(placed(&machine(8, 1, 4), 4), (vec![1, 2, 3, 7], vec![0], false));
    }

    #[test]
    fn single_core_is_shared_and_reported() {
        let placement = choose_placement(&machine(1, 1, 1), 1, None, None).unwrap();
        assert!(placement.shares_core && placement.reason.contains("only one CPU"));
        assert_eq!(placement.server_cpus, placement.client_cpus);
        let placement = choose_placement(&machine(2, 2, 1), 1, None, None).unwrap();
        assert!(placement.shares_core && placement.reason.contains("share a core"));
    }

    #[test]
    fn given_cpus_are_used_and_must_exist() {
        let topology = machine(4, 1, 4);
        let placement = choose_placement(&topology, 1, Some(vec![0]), None).unwrap();
        assert_eq!((placement.server_cpus, placement.client_cpus), (vec![0], vec![1]));
        assert!(choose_placement(&topology, 1, Some(vec![2]), Some(vec![2])).unwrap().shares_core);
        let problem = choose_placement(&topology, 1, Some(vec![9]), None).unwrap_err();
        assert!(problem.contains("0, 1, 2, 3"), "{problem}");
    }

    #[test]
    fn cpu_lists_are_parsed() {
        assert_eq!(parse_cpu_list("0,2-4").unwrap(), [0, 2, 3, 4]);
        for wrong in ["", "a", "3-1", "1-", "0-99999999"] {
            assert!(parse_cpu_list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn topology_of_this_machine_has_its_allowed_cpus() {
        let topology = Topology::read();
        assert_eq!(topology.cpus.len(), allowed_cpus().len());
        std::thread::spawn(move || {
            let first = topology.cpus[0].number;
            pin(&[first]).unwrap();
            assert_eq!(allowed_cpus(), [first]);
        })
        .join()
        .unwrap();
    }
}
