//! x
#![allow(missing_docs)]
pub fn run(_f: &std::path::Path, _p: Option<&str>) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
