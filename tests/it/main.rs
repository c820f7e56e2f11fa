//! Titan driven from outside over HTTP: one file a story.

mod api;
mod architecture;
mod check_policy;
mod checkout;
mod contracts;
mod documents;
mod github_adapter;
mod github_documented;
mod github_sim;
mod paths_by_git;
mod playground;
mod postgres;
mod probe;
mod render;
mod render_sim;
mod report;
mod sandbox;
mod support;
mod webhook;
mod webhook_examples;
