//! Where symbolic links lead, and under which other names a file can be reached through them.
//!
//! Pure, over the links of a tree; nothing on disk is followed, and no rule is known here.

use std::collections::{BTreeMap, HashMap};

use super::name::RepoPath;

/// As many links in a row are followed, as Linux does.
const HOPS: usize = 40;
/// So many other names of one file are looked at; a file with more is refused.
pub(super) const ALIASES: usize = 64;

/// Every symbolic link of a tree.
#[derive(Debug, Clone, Default)]
pub struct Links {
    targets: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The links that lead to a place, by that place.
    leading_to: HashMap<Vec<u8>, Vec<Vec<u8>>>,
}

/// The other names of a file.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// Each with the link that gives it.
    pub(super) names: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether there are more than are looked at.
    pub(super) cut_off: bool,
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// To a place in the repository; every place that is a link on the way, then the place itself. Empty: the top.
    Inside(Vec<Vec<u8>>),
    /// To an absolute path.
    Absolute,
    /// Above the top of the repository.
    Outside,
    /// Round and round.
    Circle,
}

impl Links {
    /// Takes the links of a tree, each with its target.
    pub fn new(links: impl IntoIterator<Item = (RepoPath, RepoPath)>) -> Self {
        let targets: BTreeMap<Vec<u8>, Vec<u8>> =
            links.into_iter().map(|(path, target)| (path.as_bytes().to_vec(), target.as_bytes().to_vec())).collect();
        let mut links = Self { targets, leading_to: HashMap::new() };
        for path in links.targets.keys() {
            if let Destination::Inside(places) = links.follow(path, &links.targets[path])
                && let Some(place) = places.last()
                // A link to a folder that it lies in gives every file there endless names, and says nothing of any.
                && !is_in(path, place)
            {
                links.leading_to.entry(place.clone()).or_default().push(path.clone());
            }
        }
        links
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Where a link at `path` with this target leads.
    pub(super) fn follow(&self, path: &[u8], target: &[u8]) -> Destination {
        let mut place: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        place.pop();
        let mut ahead: Vec<&[u8]> = target.split(|b| *b == b'/').rev().collect();
        if target.starts_with(b"/") {
            return Destination::Absolute;
        }
        let (mut hops, mut seen) = (0, Vec::new());
        while let Some(part) = ahead.pop() {
            match part {
                b"" | b"." => continue,
                b".." => {
                    if place.pop().is_none() {
                        return Destination::Outside;
                    }
                    continue;
                }
                part => place.push(part),
            }
            let here = place.join(&b'/');
            let Some(next) = self.targets.get(&here) else { continue };
            hops += 1;
            if hops > HOPS {
                return Destination::Circle;
            }
            if next.starts_with(b"/") {
                return Destination::Absolute;
            }
            seen.push(here);
            place.pop();
            ahead.extend(next.split(|b| *b == b'/').rev());
        }
        seen.push(place.join(&b'/'));
        Destination::Inside(seen)
    }

    /// The other names of a file.
    pub(super) fn aliases(&self, path: &[u8]) -> Aliases {
        let mut found = Aliases::default();
        if self.leading_to.is_empty() {
            return found;
        }
        let mut next = 0;
        let mut name = path.to_vec();
        loop {
            let ends = (0..name.len()).filter(|at| name[*at] == b'/').chain([name.len()]);
            for end in ends {
                for link in self.leading_to.get(&name[..end]).into_iter().flatten() {
                    let alias = [link.as_slice(), &name[end..]].concat();
                    if alias == path || found.names.iter().any(|(known, _)| *known == alias) {
                        continue;
                    }
                    if found.names.len() == ALIASES {
                        found.cut_off = true;
                        return found;
                    }
                    found.names.push((alias, link.clone()));
                }
            }
            let Some((alias, _)) = found.names.get(next) else { return found };
            name = alias.clone();
            next += 1;
        }
    }
}

/// Whether a path lies in a folder; everything lies in the top.
fn is_in(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(list: &[(&str, &str)]) -> Links {
        Links::new(list.iter().map(|(path, target)| (RepoPath::from(*path), RepoPath::from(*target))))
    }

    fn follow(links: &Links, path: &str) -> String {
        match links.follow(path.as_bytes(), &links.targets[path.as_bytes()]) {
            Destination::Inside(places) => {
                places.iter().map(|p| String::from_utf8_lossy(p)).collect::<Vec<_>>().join(" ")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn links_are_followed_as_a_file_system_does() {
        let tree = links(&[
            ("a/near", "b"),
            ("a/up", "../infra/x"),
            ("top", "."),
            ("a/top", ".."),
            ("out", "../x"),
            ("a/out", "b/../../../x"),
            ("abs", "/etc/passwd"),
            ("chain", "a/up"),
            ("round", "round2"),
            ("round2", "round"),
            ("folder", "infra"),
            ("through", "folder/x"),
            ("to-abs", "abs/x"),
            ("dots", "./a/./near"),
        ]);
        for (path, wanted) in [
            ("a/near", "a/b"),
            ("a/up", "infra/x"),
            ("top", ""),
            ("a/top", ""),
            ("out", "Outside"),
            ("a/out", "Outside"),
            ("abs", "Absolute"),
            ("chain", "a/up infra/x"),
            ("round", "Circle"),
            ("through", "folder infra/x"),
            ("to-abs", "Absolute"),
            ("dots", "a/near a/b"),
        ] {
            assert_eq!(follow(&tree, path), wanted, "{path}");
        }
    }

    #[test]
    fn a_file_has_the_names_that_links_give_it() {
        let tree = links(&[("infra", "deploy"), ("deploy/x", "../shared"), ("self", "."), ("loop", "loop")]);
        let names = |path: &str| -> Vec<String> {
            let aliases = tree.aliases(path.as_bytes());
            aliases.names.into_iter().map(|(name, _)| String::from_utf8(name).expect("text")).collect()
        };
        assert_eq!(names("shared/f"), ["deploy/x/f", "infra/x/f"]);
        assert_eq!(names("deploy/y"), ["infra/y"]);
        assert!(names("src/a").is_empty());
    }

    #[test]
    fn a_file_with_more_names_than_are_looked_at_says_so() {
        let many = |count: usize| {
            let list: Vec<(String, String)> = (0..count).map(|n| (format!("l{n}"), "shared".to_owned())).collect();
            Links::new(
                list.iter().map(|(path, target)| (RepoPath::from(path.as_str()), RepoPath::from(target.as_str()))),
            )
        };
        let looked = |count| many(count).aliases(b"shared/f");
        assert!(!looked(ALIASES).cut_off && looked(ALIASES).names.len() == ALIASES);
        assert!(looked(ALIASES + 1).cut_off);
    }
}
