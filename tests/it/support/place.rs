//! A place to build in, and whether this machine can isolate builds at all.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use titan::domain::policy::BuildNetwork;
use titan::sandbox::{BuildOutcome, BuildRequest, Isolation, OutputChunk, Rules, SandboxError, run};
use tokio::sync::mpsc;

/// What builds may here: as much as the tests need.
pub fn rules() -> Rules {
    Rules { isolation: if can_isolate() { Isolation::Required } else { Isolation::Off }, ..plain_rules() }
}

/// Whether builds can be isolated on this machine. When they cannot, it says so where nobody overlooks it, once.
/// `SANDBOX_REQUIRED` makes that a failure.
pub fn can_isolate() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let asked = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let place = tempfile::tempdir().expect("a folder");
            let required = Rules { isolation: Isolation::Required, ..plain_rules() };
            let program = Path::new(env!("CARGO_BIN_EXE_titan"));
            runtime.block_on(titan::sandbox::check(program, &required, place.path()))
        });
        match asked.join().expect("the check") {
            Ok(memory) => {
                loudly(&format!("builds are isolated in these tests; memory is limited by {memory}"));
                true
            }
            Err(why) => {
                assert!(std::env::var_os("SANDBOX_REQUIRED").is_none(), "SANDBOX_REQUIRED is set, but: {why}");
                loudly(&format!("SKIPPED: no test of the isolation of builds runs on this machine: {why}"));
                false
            }
        }
    })
}

/// Past the test harness, which keeps what passing tests print.
fn loudly(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "\n*** {text}\n");
}

fn plain_rules() -> Rules {
    Rules {
        isolation: Isolation::Off,
        tools: Vec::new(),
        memory_bytes: 1 << 30,
        processes: 256,
        cpu_percent: None,
        disk_bytes: 1 << 30,
        output_bytes: 1 << 20,
        hidden: Vec::new(),
    }
}

/// A workspace with a home beside it. Everything that runs here carries a word of its own in its command line.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub word: String,
    pub rules: Rules,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("workspace")).expect("a folder");
        Self { folder, word: format!("sandboxed-{}", uuid::Uuid::new_v4()), rules: rules() }
    }

    pub fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    pub fn request(&self, commands: &[&[&str]]) -> BuildRequest {
        let owned = |words: &&[&str]| words.iter().map(|&word| word.to_owned()).collect();
        BuildRequest {
            workspace: self.workspace(),
            home: self.folder.path().join("home"),
            commands: commands.iter().map(owned).collect(),
            timeout: Duration::from_secs(30),
            network: BuildNetwork::None,
            rules: self.rules.clone(),
            supervisor: PathBuf::from(env!("CARGO_BIN_EXE_titan")),
        }
    }

    /// One shell script; `WORD` in it becomes this place's word.
    pub fn script(&self, script: &str) -> BuildRequest {
        self.request(&[&["sh", "-c", &script.replace("WORD", &self.word)]])
    }

    /// How many processes with this place's word in their command line run.
    pub fn running(&self) -> usize {
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        processes
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).contains(&self.word))
            .count()
    }

    /// A process's end is seen in `/proc` a moment after the kill.
    pub async fn all_gone(&self) -> bool {
        let limit = Instant::now() + Duration::from_secs(10);
        while self.running() > 0 {
            if Instant::now() > limit {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

/// The outcome and the whole log.
pub async fn build(request: BuildRequest) -> (Result<BuildOutcome, SandboxError>, String) {
    let (sender, mut receiver) = mpsc::channel::<OutputChunk>(4);
    let log = async {
        let mut log = String::new();
        while let Some(chunk) = receiver.recv().await {
            log.push_str(&chunk.text);
        }
        log
    };
    tokio::join!(run(request, sender), log)
}
