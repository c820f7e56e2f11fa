//! x
#![allow(missing_docs)]
pub struct Reporter;
#[derive(Debug)]
pub struct ReportError;
pub async fn report(_r: &Reporter, _l: crate::store::Lease, _c: i64) -> Result<(), super::JobError> {
    Ok(())
}
impl super::Services {
    pub fn reporter(&self) -> Reporter {
        Reporter
    }
}
