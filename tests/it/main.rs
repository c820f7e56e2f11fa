//! Titan driven from outside over HTTP: one file a story.

mod render_sim;
