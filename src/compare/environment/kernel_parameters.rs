//! The kernel parameters that affect performance.
//!
//! A kernel command line can contain addresses, tokens and keys, and results are meant to be
//! shared. Only the parameters listed here enter a result.

use crate::result::KernelParameters;

/// Names from the kernel's admin-guide/kernel-parameters, with `_` instead of `-`, by subject.
const REPORTED: [&str; 6] = [
    // CPU vulnerabilities
    "gather_data_sampling indirect_target_selection kpti l1d_flush l1tf mds mitigations \
     mmio_stale_data nopti nospec_store_bypass_disable nospectre_bhb nospectre_v1 nospectre_v2 \
     pti reg_file_data_sampling retbleed spec_rstack_overflow spec_store_bypass_disable \
     spectre_bhi spectre_v2 spectre_v2_user srbds ssbd tsa tsx tsx_async_abort vmscape",
    // Scheduling and interrupts
    "cgroup_disable irqaffinity isolcpus maxcpus noautogroup nohz nohz_full nosmp nosmt nr_cpus \
     preempt psi rcu_nocb_poll rcu_nocbs rcupdate.rcu_expedited skew_tick threadirqs \
     workqueue.power_efficient",
    // Frequency and idle states
    "amd_prefcore amd_pstate cpufreq.default_governor cpufreq.off cpuidle.governor cpuidle.off \
     idle intel_idle.max_cstate intel_pstate nohlt processor.max_cstate",
    // Clocks, watchdogs and paravirtualisation
    "clocksource highres hpet nmi_watchdog no_kvmclock no_steal_acc nopv nopvspin nosoftlockup \
     notsc nowatchdog tsc",
    // Memory
    "amd_iommu debug_pagealloc default_hugepagesz hardened_usercopy hugepages hugepagesz \
     init_on_alloc init_on_free intel_iommu iommu iommu.passthrough iommu.strict kasan \
     kfence.sample_interval mem numa numa_balancing page_poison slab_debug slub_debug swiotlb \
     transparent_hugepage",
    // Security
    "apparmor audit lockdown lsm randomize_kstack_offset security selinux",
];

impl KernelParameters {
    /// Selects the reported parameters of a command line. Arguments of init, after `--`, are
    /// omitted too.
    pub fn parse(command_line: &str) -> Self {
        let mut parameters = split(command_line);
        let ends = |it: &&str| it.trim_matches('"') == "--";
        let end = parameters.iter().position(ends).unwrap_or(parameters.len());
        let init_arguments = parameters.split_off(end).len().saturating_sub(1);
        let (reported, omitted): (Vec<&str>, Vec<&str>) =
            parameters.into_iter().partition(|parameter| is_reported(parameter));
        Self {
            reported: reported.into_iter().map(str::to_owned).collect(),
            omitted: omitted.len() + init_arguments,
        }
    }
}

/// Splits a command line like the kernel's `next_arg`: at white space outside double quotes.
fn split(command_line: &str) -> Vec<&str> {
    let mut quoted = false;
    let separates = |character: char| {
        quoted ^= character == '"';
        character.is_whitespace() && !quoted
    };
    command_line.split(separates).filter(|parameter| !parameter.is_empty()).collect()
}

/// No reported parameter has a value with white space, so that text after a stray quote is omitted.
fn is_reported(parameter: &str) -> bool {
    let text = parameter.trim_start_matches('"');
    let name = text.split('=').next().unwrap_or(text).trim_end_matches('"').replace('-', "_");
    let mut reported = REPORTED.iter().flat_map(|group| group.split_whitespace());
    reported.any(|it| it == name) && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_parameters(command_line: &str, reported: &[&str], omitted: usize) {
        let parameters = KernelParameters::parse(command_line);
        assert_eq!(parameters.reported, reported, "{command_line}");
        assert_eq!(parameters.omitted, omitted, "{command_line}");
    }

    #[test]
    fn performance_parameters_are_reported_and_others_counted() {
        assert_parameters(
            "BOOT_IMAGE=/vmlinuz root=UUID=1 ro quiet mitigations=off nosmt isolcpus=2-3 \
             processor.max_cstate=1\n",
            &["mitigations=off", "nosmt", "isolcpus=2-3", "processor.max_cstate=1"],
            4,
        );
        assert_parameters("", &[], 0);
    }

    #[test]
    fn dashes_and_underscores_are_equal_in_names() {
        assert_parameters(
            "no-kvmclock nohz-full=1 spectre-v2=off",
            &["no-kvmclock", "nohz-full=1", "spectre-v2=off"],
            0,
        );
    }

    #[test]
    fn secrets_are_omitted() {
        assert_parameters(
            "systemd.set_credential=token:hunter2 ip=192.0.2.7::192.0.2.1 audit=0 \
             ds=nocloud;s=https://user:hunter2@example.com/ mitigations.key=hunter2 -- tsc=hunter2",
            &["audit=0"],
            5,
        );
        assert_parameters(r#"tsc "--" mem=hunter2"#, &["tsc"], 1);
    }

    #[test]
    fn quoted_parameters_are_single_parameters() {
        assert_parameters(
            r#"isolcpus="managed_irq,1-3" dyndbg="file a.c mitigations=off" "nohz_full=1-3" tsc"#,
            &[r#"isolcpus="managed_irq,1-3""#, r#""nohz_full=1-3""#, "tsc"],
            1,
        );
    }

    #[test]
    fn value_with_white_space_is_omitted() {
        assert_parameters(r#"preempt=full isolcpus="1 token=hunter2"#, &["preempt=full"], 1);
    }
}
