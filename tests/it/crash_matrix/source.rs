//! The writes that the adapters for GitHub and Render can make, read from their own text.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes that no story of the matrix makes, and why a crash around them needs none.
pub const EXEMPT: &[(&str, &str)] = &[
    ("POST /app/hook/deliveries/*/attempts", "a delivery that comes twice is known by its id; story_recovery"),
    ("POST /v1/services/*/deploys/*/cancel", "a deploy that was stopped twice is stopped; story_controls"),
];

/// Where requests are only passed on.
const PLUMBING: &[&str] = &["src/github/call.rs", "src/render/call.rs"];

/// Method and path pattern of each, `*` for what is filled in.
pub fn writes() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("src/render.rs")];
    collect(&root.join("src/github"), &mut files);
    collect(&root.join("src/render"), &mut files);
    let mut found = Vec::new();
    for file in files {
        if PLUMBING.iter().any(|plumbing| file.ends_with(plumbing)) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let base = if file.starts_with(root.join("src/github")) { "/repos/*/*" } else { "/v1" };
        for (sign, method) in SIGNS {
            for (at, _) in code.match_indices(sign) {
                let path = literal_near(code, at).unwrap_or_else(|| panic!("{}: {method} of what?", file.display()));
                let base = if path.starts_with("/app/") { "" } else { base };
                found.push(((*method).to_owned(), format!("{base}{path}")));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// How a write looks in the sources.
const SIGNS: &[(&str, &str)] = &[
    ("Method::POST", "POST"),
    ("Method::PUT", "PUT"),
    ("Method::PATCH", "PATCH"),
    ("Method::DELETE", "DELETE"),
    ("Call::post(", "POST"),
    ("Call::patch(", "PATCH"),
];

/// The path in the same statement, or the last one before it.
fn literal_near(code: &str, at: usize) -> Option<String> {
    let statement = code[at..].split(';').next().unwrap_or_default();
    let after = statement.find("\"/").map(|found| at + found);
    let start = after.or_else(|| code[..at].rfind("\"/"))?;
    let literal = code[start + 1..].split('"').next()?;
    let mut path = String::new();
    let mut depth = 0;
    for c in literal.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                path.push('*');
            }
            c if depth == 0 => path.push(c),
            _ => {}
        }
    }
    Some(path)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
