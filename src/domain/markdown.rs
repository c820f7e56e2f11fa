//! Placeholder until the real helpers land.
#![allow(missing_docs)]
pub fn inline_code(text: &str) -> String {
    format!("`{text}`")
}
pub fn escape(text: &str) -> String {
    text.to_owned()
}
