//! What several stories need.

pub mod database;
pub mod scene;
pub mod web;
pub mod world;
