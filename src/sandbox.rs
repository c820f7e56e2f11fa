//! x
#![allow(missing_docs)]
use std::path::*;
use std::time::Duration;
pub const SUPERVISOR_COMMAND: &str = "sandbox-exec";
pub fn supervisor_main(_a: std::env::ArgsOs) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
pub struct BuildRequest {
    pub supervisor: PathBuf,
    pub workspace: PathBuf,
    pub home: PathBuf,
    pub commands: Vec<Vec<String>>,
    pub timeout: Duration,
    pub output_limit_bytes: u64,
}
pub enum BuildOutcome {
    Succeeded { ms: u64 },
    CommandFailed { command: String, exit: Option<i32>, signal: Option<i32> },
    TimedOut { after: Duration },
    OutputLimit,
}
pub struct OutputChunk {
    pub text: String,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct SandboxError;
pub async fn run(_r: BuildRequest, _s: tokio::sync::mpsc::Sender<OutputChunk>) -> Result<BuildOutcome, SandboxError> {
    Err(SandboxError)
}
pub fn find_commands(_w: &Path, _b: &crate::domain::policy::Build) -> Result<Vec<Vec<String>>, String> {
    Err(String::new())
}
