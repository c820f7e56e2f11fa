//! x
#![allow(missing_docs)]
pub async fn run(_o: bool, _p: u16, _s: std::path::PathBuf) -> anyhow::Result<()> {
    Ok(())
}
