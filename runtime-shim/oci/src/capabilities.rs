//! Which capabilities a container has. Pure.

use container::Capabilities;

/// Every capability by its number (capability.h of Linux 5.9 and later).
const ALL: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What container runtimes have agreed to give a container that asks for nothing.
const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The container's capabilities as `CAP_…` names. `available` is the bounding set of this process as a bit mask: what it
/// lacks cannot be given, and is left out.
pub fn plan(asked: &Capabilities, privileged: bool, available: u64) -> Result<Vec<String>, String> {
    for name in asked.add.iter().chain(&asked.drop) {
        let name = plain(name);
        if name != "ALL" && !ALL.contains(&name.as_str()) {
            return Err(format!("{name:?} is not a Linux capability"));
        }
    }
    let has = |list: &[String], name: &str| list.iter().any(|entry| plain(entry) == name);
    // `ALL` first, then the names: so "drop ALL, add NET_BIND_SERVICE" leaves that one, and the reverse all but one.
    let everything = privileged || has(&asked.add, "ALL");
    let nothing = has(&asked.drop, "ALL") && !privileged;
    let chosen = ALL.iter().enumerate().filter(|(number, name)| {
        let base = if nothing { has(&asked.add, "ALL") } else { everything || DEFAULT.contains(name) };
        let kept = if privileged { true } else { (base && !has(&asked.drop, name)) || has(&asked.add, name) };
        kept && available >> number & 1 == 1
    });
    Ok(chosen.map(|(_, name)| format!("CAP_{name}")).collect())
}

/// The bounding set of this process.
pub fn available() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapBnd:")?.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

fn plain(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_and_adds_change_the_default() {
        let names = |add: &[&str], drop: &[&str], privileged| {
            let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
            plan(&Capabilities { add: list(add), drop: list(drop) }, privileged, !(1 << 24))
        };
        let count = |add: &[&str], drop: &[&str], privileged| names(add, drop, privileged).map(|got| got.len());
        assert_eq!(count(&[], &[], false), Ok(14));
        assert_eq!(names(&["NET_BIND_SERVICE"], &["ALL"], false), Ok(vec!["CAP_NET_BIND_SERVICE".into()]));
        assert_eq!(count(&["cap_sys_admin"], &[], false), Ok(15));
        assert_eq!(count(&["ALL"], &["MKNOD"], false), Ok(39), "all but one, and but the one that is not available");
        assert_eq!(count(&[], &["MKNOD", "KILL"], false), Ok(12));
        assert_eq!(count(&[], &["ALL"], true), Ok(40));
        assert_eq!(names(&["FLY"], &[], false), Err("\"FLY\" is not a Linux capability".into()));
    }
}
