//! The system calls that a build may not make.
//!
//! Namespaces, the missing capabilities and the missing files are what isolates a build. This filter makes the kernel's
//! part that it can reach smaller: what no build needs, and where kernels had their holes. Everything else is allowed.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

use super::NAMESPACES;

/// Refused with EPERM, whatever their arguments.
const FORBIDDEN: &[libc::c_long] = &[
    // mounts and roots
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // namespaces
    libc::SYS_unshare,
    libc::SYS_setns,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // programs for the kernel, its keys, its events
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_lookup_dcookie,
    // the kernel and the machine themselves
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
];

/// The same, on machines that have them.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[libc::c_long] = &[];

/// Answered as by a kernel that does not have them, so that programs take the older way, which can be judged.
const UNKNOWN: &[libc::c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// Kinds of sockets that a build may have: those that its own empty network holds. All others, `AF_VSOCK` above all,
/// reach past network namespaces or are rarely used parts of the kernel.
const SOCKETS: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Terminal tricks that put characters into somebody's input.
const TERMINAL: [u64; 2] = [0x5412, 0x541c];

/// Puts the filters on this process and everything it starts. Needs `no_new_privs`.
///
/// # Errors
/// When the kernel has no such filters or refuses them.
pub(super) fn apply() -> io::Result<()> {
    let other = |error: &dyn std::fmt::Display| io::Error::other(format!("the filter of system calls: {error}"));
    for (rules, answer) in [(forbidden().map_err(|e| other(&e))?, libc::EPERM), (unknown(), libc::ENOSYS)] {
        let program = compile(rules, answer).map_err(|error| other(&error))?;
        apply_filter(&program).map_err(|error| other(&error))?;
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn unknown() -> Rules {
    UNKNOWN.iter().map(|call| (*call, Vec::new())).collect()
}

fn forbidden() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = FORBIDDEN.iter().chain(FORBIDDEN_HERE).map(|call| (*call, Vec::new())).collect();
    let mut clone = Vec::new();
    for bit in 0..32 {
        let flag = 1_u64 << bit;
        if u64::from(NAMESPACES.cast_unsigned()) & flag != 0 {
            clone.push(SeccompRule::new(vec![SeccompCondition::new(0, Length::Qword, Is::MaskedEq(flag), flag)?])?);
        }
    }
    rules.insert(libc::SYS_clone, clone);
    let number = |value: libc::c_int| u64::from(value.cast_unsigned());
    let not_one_of = SOCKETS.iter().map(|kind| SeccompCondition::new(0, Length::Dword, Is::Ne, number(*kind)));
    let odd_netlink = vec![
        SeccompCondition::new(0, Length::Dword, Is::Eq, number(libc::AF_NETLINK))?,
        SeccompCondition::new(2, Length::Dword, Is::Ne, number(libc::NETLINK_ROUTE))?,
    ];
    let sockets = vec![SeccompRule::new(not_one_of.collect::<Result<_, _>>()?)?, SeccompRule::new(odd_netlink)?];
    rules.insert(libc::SYS_socket, sockets);
    let mut terminal = Vec::new();
    for request in TERMINAL {
        terminal.push(SeccompRule::new(vec![SeccompCondition::new(1, Length::Dword, Is::Eq, request)?])?);
    }
    rules.insert(libc::SYS_ioctl, terminal);
    Ok(rules)
}

fn compile(rules: Rules, answer: libc::c_int) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(answer.cast_unsigned()), arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(without_x32().into_iter().chain(program).collect())
}

/// A kernel may offer every system call of x86-64 a second time under another number (x32), past a filter by numbers.
/// These instructions stand before the filter: load the number; when it is one of those, answer ENOSYS.
#[cfg(target_arch = "x86_64")]
fn without_x32() -> Vec<sock_filter> {
    const X32: u32 = 0x4000_0000;
    let step = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32() -> Vec<sock_filter> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_can_be_made_on_this_machine() {
        let program = compile(forbidden().expect("rules"), libc::EPERM).expect("a program");
        // the kernel takes at most 4096 instructions
        assert!((100..4096).contains(&program.len()), "{}", program.len());
        assert!(compile(unknown(), libc::ENOSYS).is_ok());
    }
}
