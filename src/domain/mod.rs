//! Decides. No async, no IO, no clock, no network, no database, and no wire or row types: functions from facts to a
//! plan, so that every rule can be tested with literals. Re-exports nothing.

pub mod audit;
pub mod binding;
pub mod budget;
pub mod command;
pub mod consequence;
pub mod gates;
pub mod ids;
pub mod ledger;
pub mod lock;
pub mod markdown;
#[cfg(test)]
mod model;
pub mod paths;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod reason;
pub mod recovery;
pub mod replay;
pub mod report;
pub mod run;
pub mod snapshot;
pub mod targets;
pub mod verdict;
pub mod windows;
