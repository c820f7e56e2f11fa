//! Titan driven from outside over HTTP: one file a story.
