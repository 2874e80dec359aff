//! System calls that a worker may not make: programs for the kernel's filter.
//!
//! Both are lists of what is refused (EPERM), not of what is allowed: a plugin is any program in any language.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

use super::sandbox::SandboxLevel;

/// Stands for the worker's own pid until [`own`] puts it there.
const OWN_PID: u32 = 0x7fff_ff5a;
/// Calls of the x32 ABI have this bit: other numbers for the same calls, which no plugin makes.
const X32: u32 = 0x4000_0000;

/// The filter of a level; none for [`SandboxLevel::None`], and where this crate has no filters for the machine.
pub(super) fn filter(level: SandboxLevel) -> Option<BpfProgram> {
    static STANDARD: LazyLock<Option<BpfProgram>> = LazyLock::new(|| compile(standard(), X32));
    static STRICT: LazyLock<Option<BpfProgram>> = LazyLock::new(|| {
        let clone3 = u32::try_from(libc::SYS_clone3).ok()?;
        compile(strict(), clone3)
    });
    match level {
        SandboxLevel::None => None,
        SandboxLevel::Standard => STANDARD.clone(),
        SandboxLevel::Strict => STRICT.clone(),
    }
}

/// Makes `pid` the pid that the filter lets be named. Between clone and exec: only writes to `filter`.
pub(super) fn own(filter: &mut [sock_filter], pid: u32) {
    filter.iter_mut().filter(|step| step.k == OWN_PID).for_each(|step| step.k = pid);
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// No limit is set for another process: with `prlimit` a worker of the same user could end the host, or take its files.
fn standard() -> Option<Rules> {
    Some([(libc::SYS_prlimit64, vec![of_others(0)?])].into())
}

/// Nothing is done to another process, and nothing to the kernel.
fn strict() -> Option<Rules> {
    let mut rules = standard()?;
    rules.extend(REFUSED.map(|call| (call, Vec::new())));
    for (call, pid) in OF_OTHERS {
        rules.insert(call, vec![of_others(pid)?]);
    }
    // A thread may be signalled, by its own process: Go's scheduler does.
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![rule(vec![is(0, SeccompCmpOp::Ne, OWN_PID)?])?]);
    }
    // The bells are open files that the host shares: one that blocks would block the host.
    let blocking = SeccompCmpOp::MaskedEq(bits(libc::O_NONBLOCK));
    let setfl = is(1, SeccompCmpOp::Eq, libc::F_SETFL.cast_unsigned())?;
    rules.insert(libc::SYS_fcntl, vec![rule(vec![setfl, is(2, blocking, 0)?])?]);
    let requests = [libc::FIONBIO, libc::TIOCSTI, libc::TIOCLINUX];
    let requests = requests.map(|request| {
        let request = u32::try_from(request).ok()?;
        rule(vec![is(1, SeccompCmpOp::Eq, request)?])
    });
    rules.insert(libc::SYS_ioctl, requests.into_iter().collect::<Option<_>>()?);
    let spaces = NAMESPACES.map(|space| {
        let made = SeccompCmpOp::MaskedEq(bits(space));
        rule(vec![is(0, made, space.cast_unsigned())?])
    });
    rules.insert(libc::SYS_clone, spaces.into_iter().collect::<Option<_>>()?);
    Some(rules)
}

/// Refused whatever the arguments.
const REFUSED: [i64; 53] = [
    // Memory, descriptors and signals of other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    // Code in the kernel, and ways around this filter.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    // Keys.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
];

/// Refused for another process, by the argument that names it.
const OF_OTHERS: [(i64, u8); 6] = [
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Argument `pid` is neither 0 nor the worker.
fn of_others(pid: u8) -> Option<SeccompRule> {
    rule(vec![is(pid, SeccompCmpOp::Ne, 0)?, is(pid, SeccompCmpOp::Ne, OWN_PID)?])
}

fn rule(conditions: Vec<SeccompCondition>) -> Option<SeccompRule> {
    SeccompRule::new(conditions).ok()
}

/// The low half of an argument: all of it that the kernel reads of an `int`.
fn is(argument: u8, how: SeccompCmpOp, value: u32) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value.into()).ok()
}

fn bits(flag: libc::c_int) -> u64 {
    flag.cast_unsigned().into()
}

/// `rules`, after an ENOSYS for call `absent` and those of x32. `clone3` has its flags in memory, where no filter sees
/// them; a libc that is told there is none takes `clone`.
fn compile(rules: Option<Rules>, absent: u32) -> Option<BpfProgram> {
    let eperm = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().ok()?;
    let filter = SeccompFilter::new(rules?, SeccompAction::Allow, eperm, arch).ok()?;
    let filter = BpfProgram::try_from(filter).ok()?;
    let step =
        |code: u32, jt, jf, k| Some(sock_filter { code: u16::try_from(code).ok()?, jt, jf, k });
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let mut program = vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)?,
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 0, X32)?,
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, absent)?,
        step(libc::BPF_RET | libc::BPF_K, 0, 0, enosys)?,
    ];
    program.extend(filter);
    Some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_compile_and_name_the_worker_once_it_is_known() {
        assert!(filter(SandboxLevel::None).is_none());
        for (level, least) in [(SandboxLevel::Standard, 1), (SandboxLevel::Strict, 9)] {
            let mut program = filter(level).expect("a filter for this machine");
            let marks = |program: &[sock_filter], k| program.iter().filter(|s| s.k == k).count();
            assert!(program.len() < 4096);
            let marked = marks(&program, OWN_PID);
            assert!(marked >= least, "{level:?}: {marked}");
            own(&mut program, 123_456);
            assert_eq!((marks(&program, OWN_PID), marks(&program, 123_456)), (0, marked));
        }
    }
}
