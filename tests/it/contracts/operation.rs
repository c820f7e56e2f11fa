//! The operations of an API: which one a request means, and what its parameters are called.
//!
//! Does not look at bodies or answers.

use super::document::{Document, escaped, percent};

/// One documented operation.
#[derive(Debug)]
pub struct Operation {
    /// Upper case.
    pub method: String,
    /// As documented: `/repos/{owner}/{repo}`.
    pub template: String,
    /// Where it stands in the document.
    pub pointer: String,
    /// Of the path, the query and the headers.
    pub parameters: Vec<Parameter>,
    segments: Vec<Segment>,
}

/// One parameter of an operation.
#[derive(Debug)]
pub struct Parameter {
    /// As it stands on the wire.
    pub name: String,
    /// `path`, `query` or `header`.
    pub kind: String,
    /// Whether a request without it is wrong.
    pub required: bool,
    /// Several values are one text with commas between, instead of one pair each.
    pub is_comma_list: bool,
    /// Where its schema stands in the document.
    pub schema: String,
    /// Whether it takes several segments of the path, such as a file's path or a branch with a slash.
    is_multi_segment: bool,
}

/// Ordered from the most to the least specific.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    One(String),
    Many(String),
}

/// The names in a template and the decoded text that stood in their place.
pub type PathValues = Vec<(String, String)>;

impl Operation {
    /// All operations of a document.
    pub fn read_all(document: &Document) -> Vec<Self> {
        let mut operations = Vec::new();
        for template in document.names("/paths") {
            let path = format!("/paths/{}", escaped(&template));
            for method in document.names(&path) {
                if ["get", "put", "post", "patch", "delete"].contains(&method.as_str()) {
                    operations.push(Self::read(document, &template, &path, &method));
                }
            }
        }
        operations
    }

    fn read(document: &Document, template: &str, path: &str, method: &str) -> Self {
        let pointer = format!("{path}/{method}");
        let mut parameters = Parameter::read_list(document, &format!("{pointer}/parameters"));
        for shared in Parameter::read_list(document, &format!("{path}/parameters")) {
            if !parameters.iter().any(|own| own.kind == shared.kind && own.name == shared.name) {
                parameters.push(shared);
            }
        }
        let segment = |text: &str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            None => Segment::Literal(text.to_owned()),
            Some(name) => {
                let parameter = parameters.iter().find(|known| known.kind == "path" && known.name == name);
                let is_many = parameter.is_some_and(|known| known.is_multi_segment);
                if is_many { Segment::Many(name.to_owned()) } else { Segment::One(name.to_owned()) }
            }
        };
        let segments = template.split('/').skip(1).map(segment).collect();
        Self { method: method.to_uppercase(), template: template.to_owned(), pointer, parameters, segments }
    }

    /// The parameter of that kind and name.
    pub fn parameter(&self, kind: &str, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.kind == kind && parameter.name == name)
    }
}

/// The operation that a request means, the most specific one that fits, and the values in its path.
///
/// # Errors
/// In words, when there is none.
pub fn find<'a>(operations: &'a [Operation], method: &str, path: &str) -> Result<(&'a Operation, PathValues), String> {
    let path: Vec<&str> = path.split('/').skip(1).collect();
    let mut fitting: Vec<_> = operations.iter().filter(|operation| fit(&operation.segments, &path).is_some()).collect();
    // of templates that are equal up to where one ends, the longer one leaves less to a `{ref}` of many segments
    fitting.sort_by(|one, other| {
        let both = one.segments.len().min(other.segments.len());
        one.segments[..both].cmp(&other.segments[..both]).then(other.segments.len().cmp(&one.segments.len()))
    });
    let Some(closest) = fitting.first() else { return Err("this path is not documented".into()) };
    match fitting.iter().find(|operation| operation.method == method) {
        Some(operation) => Ok((operation, fit(&operation.segments, &path).unwrap_or_default())),
        None => {
            let known: Vec<_> = fitting.iter().map(|operation| operation.method.as_str()).collect();
            Err(format!("{method} is not documented for {}, only {}", closest.template, known.join(", ")))
        }
    }
}

/// Lays a template over a path.
fn fit(template: &[Segment], path: &[&str]) -> Option<PathValues> {
    let (Some((wanted, template)), false) = (template.split_first(), path.is_empty()) else {
        return (template.is_empty() && path.is_empty()).then(Vec::new);
    };
    let longest = match wanted {
        Segment::Literal(text) if text != path[0] => return None,
        Segment::Literal(_) => return fit(template, &path[1..]),
        Segment::One(_) => 1,
        Segment::Many(_) => path.len(),
    };
    let (Segment::One(name) | Segment::Many(name) | Segment::Literal(name)) = wanted;
    (1..=longest).rev().filter(|_| !path[0].is_empty()).find_map(|length| {
        let mut values = fit(template, &path[length..])?;
        values.push((name.clone(), percent::decoded(&path[..length].join("/"))));
        Some(values)
    })
}

impl Parameter {
    fn read_list(document: &Document, pointer: &str) -> Vec<Self> {
        let count = document.find(pointer).and_then(|(_, list)| list.as_array()).map_or(0, Vec::len);
        let place = |index| document.find(&format!("{pointer}/{index}"));
        let read = |(pointer, value): (String, &serde_json::Value)| Self {
            name: value["name"].as_str().unwrap_or_default().to_owned(),
            kind: value["in"].as_str().unwrap_or_default().to_owned(),
            required: value["required"] == true,
            is_comma_list: value["explode"] == false,
            schema: format!("{pointer}/schema"),
            is_multi_segment: value["x-multi-segment"] == true,
        };
        (0..count).filter_map(place).map(read).collect()
    }
}
