//! A GitHub and a Render that run on this machine, for trying Titan and for its tests.

pub mod command;
pub mod exchange;
pub mod github;
pub mod render;
