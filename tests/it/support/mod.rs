//! What several stories need.

pub mod database;
pub mod place;
pub mod scene;
pub mod web;
pub mod world;
