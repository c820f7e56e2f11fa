//! Builds that attack, against the real isolation of this machine. Where there is none, they say so and do nothing.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use titan::sandbox::{BuildOutcome, Isolation, MemoryLimit, SandboxError};

use crate::support::place::{Place, build, can_isolate, rules};

/// Leaves the test when this machine cannot isolate; [`can_isolate`] has said so.
macro_rules! isolated_or_return {
    () => {
        if !can_isolate() {
            return;
        }
    };
}

/// The log of a script that may end as it likes.
async fn log_of(place: &Place, script: &str) -> String {
    let (outcome, log) = build(place.script(script)).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    // the first line repeats the script
    log.split_once("\nBEGIN\n").map(|(_, rest)| rest.to_owned()).unwrap_or_else(|| panic!("it began: {log}"))
}

/// The numbers of all processes on this machine whose command line holds a word.
fn processes_with(word: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let with_word = |path: &Path| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    let numbers = processes.filter(|entry| with_word(&entry.path()));
    numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[tokio::test]
async fn nothing_of_titan_can_be_seen() {
    isolated_or_return!();
    let place = Place::new();
    let secret = format!("s3cret-{}", place.word);
    let key = place.folder.path().join("titan.pem");
    std::fs::write(&key, &secret).expect("a key");
    let mut neighbour =
        std::process::Command::new("sleep").arg("60").env("A_SECRET", &secret).spawn().expect("a neighbour");
    let number = neighbour.id();
    let folder = place.folder.path().display().to_string();
    let script = format!(
        "echo; echo BEGIN; cat /proc/*/environ /proc/*/task/*/environ 2>&1 | tr '\\0' '\\n'; cat {key} 2>&1; ls {folder} 2>&1; \
         ls /proc/{number} 2>&1; ls /root /home /var /run /sys /mnt /opt 2>&1; ls /; \
         echo processes: $(ls -d /proc/[0-9]* | wc -l); \
         for p in /proc/[0-9]*; do cat $p/cmdline; cat $p/mem; ls $p/fd/ $p/root/ $p/cwd/; readlink $p/exe; done 2>&1 | tr '\\0' ' '; \
         cat /proc/1/root/etc/shadow /proc/1/cwd/../*.pem /proc/self/root/../titan.pem /proc/kcore /etc/shadow 2>&1; \
         find / -name '*.pem' -not -path '/proc/*' -not -path '/usr/*' -not -path '/etc/ssl/*' -not -path '/etc/pki/*' 2>/dev/null; echo; echo user $(id -u) $(hostname)",
        key = key.display(),
    );
    let log = log_of(&place, &script).await;
    neighbour.kill().expect("it ends");
    neighbour.wait().expect("it ends");
    assert!(!log.contains("s3cret") && !log.contains("CARGO_MANIFEST_DIR"), "{log}");
    assert!(!log.contains(env!("CARGO_BIN_EXE_titan")), "nor where it is: {log}");
    let count: usize = log.lines().find_map(|l| l.strip_prefix("processes: ")?.parse().ok()).expect("a count");
    assert!(count <= 5, "only its own: {log}");
    assert!(log.contains("\nuser 1000 build"), "{log}");
    for gone in ["/var", "/run", "/sys", "/mnt"] {
        assert!(log.contains(&format!("'{gone}'")), "{gone} is not there: {log}");
    }
}

#[tokio::test]
async fn only_its_own_folders_can_be_written() {
    isolated_or_return!();
    let place = Place::new();
    let script = "echo; echo BEGIN
        for at in / /usr /usr/bin /usr/local /bin /lib /etc /dev /proc /proc/sys/kernel /home; do
            (echo x > $at/WORD) 2>/dev/null && echo BAD wrote $at; done
        for at in /etc/passwd /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger \\
            /proc/sys/net/ipv4/ip_forward /proc/self/uid_map /proc/self/oom_score_adj; do
            (echo -1000 > $at) 2>/dev/null && echo BAD wrote $at; done
        for at in /tmp /dev/shm /build $HOME; do (echo x > $at/WORD) && echo GOOD $at; done
        mkdir /sys/fs/cgroup/x 2>/dev/null && echo BAD cgroup; ls /sys 2>/dev/null && echo BAD sys
        mount -o remount,rw / 2>/dev/null && echo BAD remount; mount -t tmpfs x /tmp 2>/dev/null && echo BAD mount
        umount /proc 2>/dev/null && echo BAD umount; chroot /build 2>/dev/null true && echo BAD chroot
        unshare -Ur true 2>/dev/null && echo BAD unshare; nsenter -t 1 -m true 2>/dev/null && echo BAD nsenter
        for kind in 'c 1 1' 'c 5 1' 'b 8 0' 'b 254 0'; do mknod /build/node $kind 2>/dev/null && echo BAD mknod; done
        ls /dev; cp /bin/true /build/suid; chmod 4755 /build/suid; grep -E ' (/build|/tmp|/usr|/) ' /proc/self/mountinfo | grep -v nosuid && echo BAD suid
        grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; echo END";
    let log = log_of(&place, script).await;
    assert!(!log.contains("BAD"), "{log}");
    assert_eq!(log.matches("GOOD").count(), 4, "{log}");
    assert!(log.contains("\nfd\nfull\nnull\nrandom\nshm\nstderr\nstdin\nstdout\nurandom\nzero\n"), "{log}");
    assert_eq!(log.matches("0000000000000000").count(), 5, "no capability in any set: {log}");
    assert!(log.contains("NoNewPrivs:\t1") && log.contains("Seccomp:\t2") && log.ends_with("END\n"), "{log}");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn dangerous_system_calls_are_refused_under_every_number() {
    isolated_or_return!();
    let place = Place::new();
    let calls = [
        ("mount", 165, "0,0,0,0,0"),
        ("umount2", 166, "0,0"),
        ("pivot_root", 155, "0,0"),
        ("chroot", 161, "0"),
        ("unshare", 272, "0x10000000"),
        ("setns", 308, "0,0"),
        ("ptrace", 101, "0,0,0,0"),
        ("bpf", 321, "0,0,0"),
        ("keyctl", 250, "0,0,0"),
        ("add_key", 248, "0,0,0,0"),
        ("perf_event_open", 298, "0,0,0,0,0"),
        ("kexec_load", 246, "0,0,0,0"),
        ("init_module", 175, "0,0,0"),
        ("reboot", 169, "0,0,0"),
        ("settimeofday", 164, "0,0"),
        ("clock_settime", 227, "0,0"),
        ("userfaultfd", 323, "0"),
        ("open_by_handle_at", 304, "0,0,0"),
        ("process_vm_readv", 310, "1,0,0,0,0,0"),
        ("pidfd_getfd", 438, "0,0,0"),
        ("open_tree", 428, "0,0,0"),
        ("fsopen", 430, "0,0"),
        ("move_mount", 429, "0,0,0,0,0"),
        ("swapon", 167, "0,0"),
        ("syslog", 103, "2,0,0"),
        ("iopl", 172, "3"),
        ("io_uring_setup", 425, "1,0"),
        ("clone3", 435, "0,0"),
        ("clone with a user namespace", 56, "0x10000011,0,0,0,0"),
        ("clone with a mount namespace", 56, "0x20011,0,0,0,0"),
        ("vsock", 41, "40,1,0"),
        ("raw packets", 41, "17,3,0"),
        ("kernel crypto", 41, "38,5,0"),
        ("netfilter", 41, "16,3,12"),
        ("bluetooth", 41, "31,3,1"),
        ("tiocsti", 16, "0,0x5412,0"),
    ];
    let mut perl = String::from(
        "use POSIX; sub t { my $n = shift; my $c = shift; $! = 0; my $r = syscall($c, @_); my $e = $!+0; if ($r == 0 && $n =~ /clone/) { POSIX::_exit(0) } print \"$n: $r $e\\n\" }",
    );
    for (name, number, arguments) in calls {
        perl.push_str(&format!("t('{name}',{number},{arguments});"));
    }
    perl.push_str("t('x32 mount',0x40000000+165,0,0,0,0,0);t('x32 unshare',0x40000000+272,0x10000000);");
    let commands: [&[&str]; 1] = [&["perl", "-e", &perl]];
    let (outcome, log) = build(place.request(&commands)).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?} {log}");
    let told: Vec<(&str, &str)> = log.lines().filter_map(|line| line.split_once(": -1 ")).collect();
    assert_eq!(told.len(), calls.len() + 2, "each is refused: {log}");
    for (name, number) in told {
        // EPERM, or ENOSYS where programs are to take another way
        let unknown = matches!(name, "io_uring_setup" | "clone3" | "x32 mount" | "x32 unshare");
        assert_eq!(number, if unknown { "38" } else { "1" }, "{name}");
    }
}

#[tokio::test]
async fn the_first_process_and_the_supervisor_cannot_be_touched() {
    isolated_or_return!();
    let place = Place::new();
    let script = "echo; echo BEGIN; echo parent $PPID; kill -9 1; kill -9 $PPID; kill -STOP $PPID; kill -STOP 1; kill -TERM 1
        cat /proc/1/environ /proc/1/maps /proc/1/mem; readlink /proc/1/exe; ls /proc/1/fd /proc/1/root; kill -9 -1; echo NOT REACHED";
    let started = Instant::now();
    let (outcome, log) = build(place.script(script)).await;
    // -1 is everybody but the first process and, in some shells, oneself
    assert!(outcome.is_ok() && started.elapsed() < Duration::from_secs(10), "{outcome:?} {log}");
    assert!(log.contains("parent 1\n") && !log.contains("sandbox-exec\0"), "{log}");
    let (outcome, log) = build(place.script("(sleep 0.2; kill -9 1; kill -STOP 1) & sleep 0.5; exit 7")).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { exit: Some(7), .. })), "{outcome:?} {log}");
}

#[tokio::test]
async fn a_fork_bomb_ends_at_its_limit() {
    isolated_or_return!();
    let mut place = Place::new();
    place.rules.processes = 48;
    // Not a shell: one that can start nothing more ends at once, and its bomb with it.
    let mut request = place.script(
        "exec node -e 'const {spawn} = require(\"child_process\"); setInterval(() => { for (let i = 0; i < 64; i++) { \
         try { spawn(\"sh\", [\"-c\", \"sleep 5\", \"WORD\"]).on(\"error\", () => {}) } catch {} } }, 20)' WORD",
    );
    request.timeout = Duration::from_secs(2);
    let ended = Arc::new(AtomicBool::new(false));
    let looking = {
        let (word, ended) = (place.word.clone(), ended.clone());
        tokio::task::spawn_blocking(move || {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(processes_with(&word).len());
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        })
    };
    let started = Instant::now();
    let (outcome, _) = build(request).await;
    ended.store(true, Ordering::Relaxed);
    let most = looking.await.expect("it looks");
    assert!(outcome.is_ok() && started.elapsed() < Duration::from_secs(12), "{outcome:?}");
    // with the supervisor and its first process
    assert!((2..=52).contains(&most), "{most} at a time");
    assert_eq!(place.running(), 0);
}

#[tokio::test]
async fn a_memory_hog_is_ended_alone_and_in_a_crowd() {
    isolated_or_return!();
    let mut place = Place::new();
    place.rules.memory_bytes = 160 << 20;
    let hog =
        "node -e 'const a=[]; for(let i=0;i<60;i++){a.push(Buffer.alloc(10<<20,1))}; setTimeout(()=>{},1000)' WORD";
    let (outcome, log) = build(place.script(&format!("exec {hog}"))).await;
    assert!(!matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?} {log}");
    let small = "perl -e '$x = \"x\" x (50<<20); sleep 5' WORD";
    let (outcome, log) =
        build(place.script(&format!("for i in 1 2 3 4 5 6; do {small} & done; wait; sleep 1; exit 1"))).await;
    let Ok(BuildOutcome::MemoryLimit { limit_bytes, .. }) = outcome else { panic!("{outcome:?} {log}") };
    assert_eq!(limit_bytes, 160 << 20);
    assert_eq!(place.running(), 0);
    // shared memory counts too, and has a size of its own
    let (outcome, log) = build(place.script("dd if=/dev/zero of=/dev/shm/x bs=1M count=400 2>&1; exit 1")).await;
    assert!(
        outcome.is_ok()
            && (log.contains("No space left") || log.contains("Killed") || !log.contains("400+0 records out")),
        "{log}"
    );
}

#[tokio::test]
async fn a_build_cannot_fill_the_disk() {
    isolated_or_return!();
    let mut place = Place::new();
    place.rules.disk_bytes = 48 << 20;
    place.rules.processes = 128;
    let many = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > f$i; done";
    let hidden =
        "mkdir d; cd d; chmod 300 ../d; i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > f$i 2>/dev/null; done";
    let in_home = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > $HOME/f$i; done";
    let empty = "perl -e 'while (1) { open(F, \">\", $i++); }'";
    let nameless = "perl -e 'while (1) { open($f[++$i], \">\", \"x\"); unlink \"x\"; print {$f[$i]} \"x\" x 1000000; $f[$i]->flush }'";
    for script in [many, in_home, hidden, empty, nameless] {
        let (outcome, log) = build(place.script(script)).await;
        let told = matches!(outcome, Ok(BuildOutcome::DiskLimit { limit_bytes: Some(limit), .. }) if limit == 48 << 20);
        assert!(told, "{script}: {outcome:?} {log}");
        for folder in ["workspace", "home"] {
            titan::sandbox::remove(&place.folder.path().join(folder)).expect("it can be removed");
            std::fs::create_dir(place.folder.path().join(folder)).expect("a folder");
        }
    }
    let (_, log) = build(place.script("head -c 200000000 /dev/zero > big; ls -l big; rm big; exit 1")).await;
    assert!(!log.contains("build 200000000 "), "no file is larger than all may be together: {log}");
    std::fs::remove_file(place.workspace().join("big")).ok();
    let in_memory = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do head -c 40000000 /dev/zero > /tmp/$i; done; exit 1";
    let (outcome, log) = build(place.script(in_memory)).await;
    assert!(log.contains("No space left on device"), "{outcome:?} {log}");
}

#[tokio::test]
async fn a_workspace_behind_a_symbolic_link_is_refused() {
    isolated_or_return!();
    let place = Place::new();
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).expect("a link");
    let above = place.folder.path().join("above");
    std::os::unix::fs::symlink(place.folder.path(), &above).expect("a link");
    for workspace in [link, above.join("workspace")] {
        let mut request = place.script("ls; touch made");
        request.workspace = workspace;
        let (outcome, log) = build(request).await;
        let Err(SandboxError::NotIsolated(why)) = outcome else { panic!("{outcome:?} {log}") };
        assert!(why.contains("no symbolic link"), "{why}");
    }
    assert!(!Path::new("/etc/made").exists() && !place.workspace().join("made").exists());
}

#[tokio::test]
async fn links_in_the_checkout_lead_nowhere_outside() {
    isolated_or_return!();
    let place = Place::new();
    let secret = place.folder.path().join("secret");
    std::fs::write(&secret, "s3cret").expect("a file");
    std::os::unix::fs::symlink(&secret, place.workspace().join("a")).expect("a link");
    std::os::unix::fs::symlink("../secret", place.workspace().join("b")).expect("a link");
    std::os::unix::fs::symlink(place.folder.path(), place.workspace().join("c")).expect("a link");
    let owner = std::fs::metadata(&secret).expect("it is there");
    let log = log_of(&place, "echo; echo BEGIN; cat a b c/secret ../secret 2>&1; ln secret d 2>&1; cat d 2>&1").await;
    assert!(!log.contains("s3cret"), "{log}");
    let now = std::fs::metadata(&secret).expect("it is there");
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((owner.uid(), owner.mode()), (now.uid(), now.mode()), "giving the checkout away followed no link");
}

#[tokio::test]
async fn killing_the_supervisor_leaves_nothing() {
    isolated_or_return!();
    let place = Place::new();
    let script = "setsid sh -c 'setsid sh -c \"while :; do sleep 1; done\" WORD & while :; do sleep 1; done' WORD & env -i sleep 60";
    let task = tokio::spawn(build(place.script(script)));
    let limit = Instant::now() + Duration::from_secs(10);
    while place.running() < 5 {
        assert!(Instant::now() < limit, "it starts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let own = std::process::id().to_string();
    let supervisor = processes_with(&place.word).into_iter().find(|number| {
        let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|parent| parent.trim() == own))
    });
    let supervisor = rustix::process::Pid::from_raw(supervisor.expect("a supervisor")).expect("a number");
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).expect("it is killed");
    let (outcome, _) = tokio::time::timeout(Duration::from_secs(20), task).await.expect("in time").expect("an end");
    assert!(matches!(outcome, Err(SandboxError::Lost(_))), "{outcome:?}");
    assert!(place.all_gone().await, "the kernel ended all of it");
}

#[tokio::test]
async fn a_machine_that_cannot_isolate_builds_nothing_and_says_why() {
    isolated_or_return!();
    let place = Place::new();
    let crippled = place.folder.path().join("crippled");
    let script = format!(
        "#!/bin/sh\nexec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"' {} \"$@\"\n",
        env!("CARGO_BIN_EXE_titan")
    );
    write_program(&crippled, &script);
    let mut request = place.script("touch made");
    request.supervisor = crippled.clone();
    let (outcome, log) = build(request).await;
    let Err(SandboxError::NotIsolated(why)) = outcome else { panic!("{outcome:?} {log}") };
    assert!(why.contains("sysctl user.max_user_namespaces"), "{why}");
    assert!(!place.workspace().join("made").exists(), "nothing ran: {log}");
    let checked = titan::sandbox::check(&crippled, &rules(), place.folder.path()).await;
    assert!(checked.expect_err("the check sees it too").contains("user namespaces"));
}

#[tokio::test]
async fn a_folder_of_tools_that_holds_what_is_titan_s_is_not_shown() {
    isolated_or_return!();
    let mut place = Place::new();
    let key = tempfile::tempdir().expect("a folder");
    std::fs::write(key.path().join("titan.pem"), "s3cret").expect("a key");
    for (tools, hidden) in [(place.folder.path(), Vec::new()), (key.path(), vec![key.path().join("titan.pem")])] {
        place.rules.tools = vec![tools.to_owned()];
        place.rules.hidden = hidden;
        let program = Path::new(env!("CARGO_BIN_EXE_titan"));
        let checked = titan::sandbox::check(program, &place.rules, place.folder.path()).await;
        assert!(checked.expect_err("the look at the start sees it").contains("move it out"));
        let (outcome, log) = build(place.script("touch made")).await;
        let Err(SandboxError::NotIsolated(why)) = outcome else { panic!("{outcome:?} {log}") };
        assert!(why.contains("a build would see") && !place.workspace().join("made").exists(), "{why}");
    }
}

fn write_program(path: &Path, text: &str) {
    let mut file = std::fs::File::create(path).expect("a program");
    file.write_all(text.as_bytes()).expect("a program");
    drop(file);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a program");
}

#[tokio::test]
async fn a_titan_without_rights_isolates_as_well() {
    isolated_or_return!();
    if !rustix::process::geteuid().is_root() {
        // then every other test here is this one
        return;
    }
    let mut place = Place::new();
    let nobody = 65_534;
    let program = place.folder.path().join("as-nobody");
    std::fs::copy(env!("CARGO_BIN_EXE_titan"), place.folder.path().join("titan")).expect("a copy that nobody may run");
    let script = format!(
        "#!/bin/sh\nexec setpriv --reuid={nobody} --regid={nobody} --clear-groups {}/titan \"$@\"\n",
        place.folder.path().display()
    );
    write_program(&program, &script);
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its rights");
        std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).expect("its owner");
    };
    std::fs::create_dir_all(place.folder.path().join("home/tmp")).expect("a home");
    for path in ["", "workspace", "home", "home/tmp"] {
        open(&place.folder.path().join(path));
    }
    place.rules.memory_bytes = 160 << 20;
    place.rules.processes = 40;
    let request = |script: &str| {
        let mut request = place.script(script);
        request.supervisor = program.clone();
        request
    };
    let (outcome, log) =
        build(request("id -u; touch made; ls /proc | grep -c '^[0-9]'; cat /proc/net/route; ls /root")).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { .. })) && log.contains("\n1000\n"), "{outcome:?} {log}");
    assert!(place.workspace().join("made").exists());
    // no memory cgroup for nobody: the sum is watched
    let small = "perl -e '$x = \"x\" x (50<<20); sleep 5' WORD";
    let (outcome, log) = build(request(&format!("for i in 1 2 3 4 5 6; do {small} & done; wait"))).await;
    assert!(matches!(outcome, Ok(BuildOutcome::MemoryLimit { .. })), "{outcome:?} {log}");
    // no cgroup for their number either
    let (outcome, log) =
        build(request("i=0; while [ $i -lt 100 ]; do i=$((i+1)); sleep 3 & done 2>/dev/null; exit 9")).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { .. })), "{outcome:?} {log}");
    let (outcome, _) = build(request("perl -e 'for (1..100) { my $p = fork(); if (!defined $p) { print \"refused at $_\\n\"; exit 3 } if (!$p) { sleep 5; exit } }'")).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { exit: Some(3), .. })), "{outcome:?}");
    assert_eq!(place.running(), 0);
}

#[tokio::test]
async fn ordinary_builds_work_and_isolation_costs_little() {
    isolated_or_return!();
    let mut place = Place::new();
    let write = |name: &str, text: &str| std::fs::write(place.workspace().join(name), text).expect("a file");
    write("Makefile", "all: hello\n\t./hello\nhello: hello.c\n\tcc -o hello hello.c\n");
    write("hello.c", "#include <stdio.h>\nint main(void) { puts(\"hello from make\"); return 0; }\n");
    write(
        "work.js",
        "const {execFileSync} = require('child_process'); console.log('node', execFileSync('uname').toString(), require('os').cpus().length > 0);",
    );
    let rustc = std::process::Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc");
    let toolchain = PathBuf::from(String::from_utf8(rustc.stdout).expect("text").trim());
    std::fs::create_dir(place.workspace().join("src")).expect("a folder");
    write("src/main.rs", "fn main() { println!(\"hello from cargo\"); }");
    write("Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    place.rules.tools = vec![toolchain];
    let commands: [&[&str]; 3] = [&["node", "work.js"], &["make"], &["cargo", "run", "--offline", "--quiet"]];
    let (outcome, log) = build(place.request(&commands)).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?} {log}");
    for said in ["node Linux", "hello from make", "hello from cargo"] {
        assert!(log.contains(said), "{said}: {log}");
    }

    let mut took = Vec::new();
    for isolation in [Isolation::Off, Isolation::Required] {
        place.rules.isolation = isolation;
        let started = Instant::now();
        for _ in 0..10 {
            let (outcome, _) = build(place.request(&[&["true"]])).await;
            assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?}");
        }
        took.push(started.elapsed() / 10);
    }
    println!("a command takes {:?} without and {:?} with isolation", took[0], took[1]);
    assert!(took[1] < took[0] + Duration::from_millis(500), "{took:?}");
    let program = Path::new(env!("CARGO_BIN_EXE_titan"));
    let memory = titan::sandbox::check(program, &rules(), place.folder.path()).await.expect("it holds");
    println!("memory is limited by {memory}");
    assert!(matches!(memory, MemoryLimit::Cgroup | MemoryLimit::Watched));
}

#[tokio::test]
async fn isolation_turned_off_is_said_in_the_log() {
    let mut place = Place::new();
    place.rules.isolation = Isolation::Off;
    let (outcome, log) = build(place.script("true")).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?}");
    assert!(
        log.starts_with("titan: WARNING: this build is NOT isolated") && log.contains("(none) is not enforced"),
        "{log}"
    );
}
