//! Titan: operations from the pull request.
//!
//! The map, in reading order. A line of code knows its room by one question: does it decide (`domain`), do (`github`,
//! `render`, `checkout`, `sandbox`, `probe`), store (`store`) or show (`http`)? `worker` puts them in order.
//! Dependencies point one way: `main -> app -> {http, worker} -> {github, render, checkout, sandbox, probe, store} -> domain`.

pub mod domain;

pub mod claim;
pub mod clock;
pub mod config;
pub mod redact;

pub mod checkout;
pub mod github;
pub mod outbound;
pub mod postgres;
pub mod probe;
pub mod render;
pub mod sandbox;
pub mod scratch;

pub mod store;

pub mod http;
pub mod worker;

pub mod app;
pub mod audit;
pub mod check_policy;

pub mod playground;
