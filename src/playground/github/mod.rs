//! A GitHub that speaks the real REST API over HTTP.
