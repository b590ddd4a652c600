//! Where server and client run.

use std::collections::BTreeSet;
use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::report::result::Placement;

/// The processors of the machine as far as the choice needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Those that this process may use, each with the core and the memory node it belongs to.
    pub cpus: Vec<Cpu>,
}

/// A processor as the scheduler sees it: a thread of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub number: usize,
    /// Its core; threads with the same one share it.
    pub core: (usize, usize),
    /// Its memory node.
    pub node: usize,
}

impl Topology {
    /// Reads it from the kernel.
    pub fn read() -> Self {
        let numbers = affinity();
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
        // Where the kernel does not tell, each is a core of its own.
        let core = (package, read("core_id").unwrap_or(number));
        Self { number, core, node: node.unwrap_or(0) }
    }
}

/// The processors that the calling thread may use.
pub fn affinity() -> Vec<usize> {
    sched_getaffinity(None)
        .map(|set| (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
        .unwrap_or_default()
}

/// Keeps the calling thread, and what it starts from now on, on these processors.
///
/// # Errors
/// When the kernel does not have them, or does not allow them.
pub fn pin(cpus: &[usize]) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    sched_setaffinity(None, &set)
}

/// Chooses processors for a server with so many threads and a client with one, unless they were
/// named.
///
/// # Errors
/// When a named processor is not there.
pub fn place(
    topology: &Topology,
    server_threads: usize,
    server: Option<Vec<usize>>,
    client: Option<Vec<usize>>,
) -> Result<Placement, String> {
    for cpu in server.iter().chain(&client).flatten() {
        if topology.cpu(*cpu).is_none() {
            let known: Vec<_> = topology.cpus.iter().map(|cpu| cpu.number.to_string()).collect();
            return Err(format!(
                "processor {cpu} is not one that this process may use: {}",
                known.join(", ")
            ));
        }
    }
    let named = server.is_some() || client.is_some();
    let client_cpus = client.unwrap_or_else(|| choose_client(topology, server.as_deref()));
    let server_cpus =
        server.unwrap_or_else(|| choose_server(topology, server_threads, &client_cpus));
    let shared = server_cpus
        .iter()
        .any(|&one| client_cpus.iter().any(|&other| topology.share_a_core(one, other)));
    let reason = match (named, shared) {
        (_, true) if topology.cpus.len() == 1 => {
            "there is only one processor: server and client take turns on it, so throughput and \
             latency are those of both together, and only CPU per request can be compared"
        }
        (_, true) => {
            "server and client share a core, so throughput and latency are those of both \
             together, and only CPU per request can be compared"
        }
        (true, false) => "named on the command line",
        (false, false) => "the client on the first processor, the server on other cores near it",
    };
    Ok(Placement { server_cpus, client_cpus, shared, reason: reason.to_owned() })
}

/// The first processor whose core the server does not use. The first of all takes most interrupts
/// of devices on many machines, and the server is the one to be measured.
fn choose_client(topology: &Topology, server: Option<&[usize]>) -> Vec<usize> {
    let server = server.unwrap_or_default();
    let free = |cpu: &&Cpu| !server.iter().any(|&other| topology.share_a_core(cpu.number, other));
    let cpu = topology.cpus.iter().find(free).or(topology.cpus.first());
    cpu.map(|cpu| cpu.number).into_iter().collect()
}

/// One thread of each core but the client's: those of its memory node first, from the last one
/// on. Threads beside another one only when the cores are not enough.
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

/// Reads `0,2-4`.
///
/// # Errors
/// When it is not of that form.
pub fn parse_cpus(text: &str) -> Result<Vec<usize>, String> {
    let problem = || format!("processors such as 1 or 0,2-4 are expected, not {text}");
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

    /// So many processors, so many threads a core, so many cores a node.
    fn machine(cpus: usize, threads: usize, cores_of_node: usize) -> Topology {
        // As Linux numbers them: first one thread of each core, then the others.
        let cores = cpus / threads;
        let cpu = |number: usize| {
            let core = number % cores;
            Cpu { number, core: (0, core), node: core / cores_of_node }
        };
        Topology { cpus: (0..cpus).map(cpu).collect() }
    }

    fn placed(topology: &Topology, threads: usize) -> (Vec<usize>, Vec<usize>, bool) {
        let placement = place(topology, threads, None, None).unwrap();
        (placement.server_cpus, placement.client_cpus, placement.shared)
    }

    #[test]
    fn server_and_client_have_cores_of_their_own_where_there_are_two() {
        assert_eq!(placed(&machine(2, 1, 2), 1), (vec![1], vec![0], false));
        assert_eq!(placed(&machine(8, 1, 8), 4), (vec![4, 5, 6, 7], vec![0], false));
    }

    #[test]
    fn a_thread_of_the_clients_core_is_not_used() {
        // Two cores with two threads each: 0 and 2, 1 and 3.
        assert_eq!(placed(&machine(4, 2, 2), 1), (vec![3], vec![0], false));
        assert_eq!(placed(&machine(4, 2, 2), 4), (vec![1, 3], vec![0], false));
    }

    #[test]
    fn the_clients_memory_node_comes_first() {
        assert_eq!(placed(&machine(8, 1, 4), 2), (vec![2, 3], vec![0], false));
        assert_eq!(placed(&machine(8, 1, 4), 4), (vec![1, 2, 3, 7], vec![0], false));
    }

    #[test]
    fn with_one_core_they_share_it_and_it_is_said() {
        let placement = place(&machine(1, 1, 1), 1, None, None).unwrap();
        assert!(placement.shared && placement.reason.contains("only one processor"));
        assert_eq!(placement.server_cpus, placement.client_cpus);
        let placement = place(&machine(2, 2, 1), 1, None, None).unwrap();
        assert!(placement.shared && placement.reason.contains("share a core"));
    }

    #[test]
    fn named_processors_are_taken_and_must_be_there() {
        let topology = machine(4, 1, 4);
        let placement = place(&topology, 1, Some(vec![0]), None).unwrap();
        assert_eq!((placement.server_cpus, placement.client_cpus), (vec![0], vec![1]));
        assert!(place(&topology, 1, Some(vec![2]), Some(vec![2])).unwrap().shared);
        let problem = place(&topology, 1, Some(vec![9]), None).unwrap_err();
        assert!(problem.contains("0, 1, 2, 3"), "{problem}");
    }

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(parse_cpus("0,2-4").unwrap(), [0, 2, 3, 4]);
        for wrong in ["", "a", "3-1", "1-", "0-99999999"] {
            assert!(parse_cpus(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn this_machine_has_processors() {
        let topology = Topology::read();
        assert_eq!(topology.cpus.len(), affinity().len());
        std::thread::spawn(move || {
            let first = topology.cpus[0].number;
            pin(&[first]).unwrap();
            assert_eq!(affinity(), [first]);
        })
        .join()
        .unwrap();
    }
}
