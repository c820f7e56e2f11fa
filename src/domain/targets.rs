//! Which repository may deploy to which service. Titan's key for Render reaches every service of its account, and a
//! policy can name any of them, so each service belongs to one repository: the one that the operator gave it to, or
//! else the first that deployed to it. It decides; who was first is the store's to know.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{Environment, ProjectName, RepoName};
use super::run::RunKind;

/// One line of `TARGET_REPOSITORIES`: a service or hook, and who may deploy to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    target: String,
    owner: String,
    /// `None`: every repository of the owner.
    name: Option<String>,
}

/// What the operator gave to whom: `srv-abc=acme/shop, WEB_CANARY=acme/*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

/// What cannot be read in a list of grants; names the part, which is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidGrant(String);

impl fmt::Display for InvalidGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not SERVICE=OWNER/REPOSITORY, such as srv-abc=acme/shop or WEB_CANARY=acme/*", self.0)
    }
}

impl FromStr for Grants {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let parts = text.split([',', '\n', ' ']).map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| grant(part).ok_or_else(|| InvalidGrant(part.to_owned()))).collect::<Result<_, _>>().map(Self)
    }
}

fn grant(part: &str) -> Option<Grant> {
    let (target, repo) = part.split_once('=')?;
    let (owner, name) = repo.split_once('/')?;
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    // A `*` stands for the whole name only; anything in between would be read as more than was meant.
    let checked = RepoName::new(owner, if name == "*" { "any" } else { name }).ok()?;
    let name = (name != "*").then(|| checked.name().to_owned());
    is_word(target).then(|| Grant { target: target.to_owned(), owner: checked.owner().to_owned(), name })
}

impl Grants {
    /// Whether the repository was given a service or hook under one of its names.
    fn give(&self, target: &TargetNames, repo: &RepoName) -> bool {
        self.0.iter().any(|grant| {
            target.all().any(|name| name == grant.target)
                && grant.owner.eq_ignore_ascii_case(repo.owner())
                && grant.name.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(repo.name()))
        })
    }
}

/// What one target is called: as the policy names it and, for a hook, also by the service that it deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetNames {
    /// As the policy names it: a service id or a hook's name.
    pub shown: String,
    /// The service behind a hook.
    pub service: Option<String>,
}

impl TargetNames {
    /// Every name.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.shown.as_str()).chain(self.service.as_deref())
    }
}

/// Whose a target is, seen from one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// This repository's, or nobody's yet.
    Ours,
    /// The operator keeps a list, and this is not on it for this repository.
    NotGiven,
    /// Another repository was the first to deploy to it.
    Elsewhere,
}

/// One target of one project with its standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFact {
    /// Whose policy names it.
    pub project: ProjectName,
    /// For what.
    pub environment: Environment,
    /// What it is called.
    pub names: TargetNames,
    /// Whose it is.
    pub standing: Standing,
}

impl TargetFact {
    /// Whether a run of this kind and project changes the target.
    pub fn is_changed_by(&self, kind: RunKind, project: Option<&ProjectName>) -> bool {
        let reaches = match kind {
            RunKind::Propose => false,
            RunKind::Canary | RunKind::Restore => self.environment == Environment::Canary,
            // Production is reached through the canary, so both must be this repository's.
            RunKind::Promote => true,
            RunKind::Rollback => self.environment == Environment::Production,
        };
        reaches && Some(&self.project) == project
    }
}

/// Whose a target is. `grants` is the operator's list, when there is one; then only it counts. `elsewhere` tells whether
/// another repository deployed to the target first.
pub fn standing(grants: Option<&Grants>, target: &TargetNames, repo: &RepoName, elsewhere: bool) -> Standing {
    match grants {
        Some(grants) if grants.give(target, repo) => Standing::Ours,
        Some(_) => Standing::NotGiven,
        None if elsewhere => Standing::Elsewhere,
        None => Standing::Ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(name: &str) -> RepoName {
        name.parse().expect("a repository")
    }

    fn hook(name: &str, service: Option<&str>) -> TargetNames {
        TargetNames { shown: name.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn the_operators_list_is_the_only_word_when_there_is_one() {
        let grants: Grants = "srv-a=acme/shop, WEB_CANARY=acme/*\nsrv-b=other/x".parse().expect("grants");
        for (names, whose, ours) in [
            (hook("srv-a", None), "acme/shop", true),
            (hook("srv-a", None), "ACME/Shop", true),
            (hook("srv-a", None), "acme/blog", false),
            (hook("srv-a", None), "evil/shop", false),
            (hook("WEB_CANARY", None), "acme/blog", true),
            (hook("WEB_CANARY", None), "acmes/blog", false),
            // a hook that leads to a service which was given is given
            (hook("ANY", Some("srv-a")), "acme/shop", true),
            (hook("ANY", Some("srv-b")), "acme/shop", false),
            (hook("srv-c", None), "acme/shop", false),
        ] {
            for elsewhere in [false, true] {
                let seen = standing(Some(&grants), &names, &repo(whose), elsewhere);
                assert_eq!(seen == Standing::Ours, ours, "{names:?} {whose}");
            }
        }
        let nothing: Grants = "".parse().expect("an empty list");
        assert_eq!(standing(Some(&nothing), &hook("srv-a", None), &repo("acme/shop"), false), Standing::NotGiven);
    }

    #[test]
    fn without_a_list_the_first_repository_keeps_it() {
        let target = hook("srv-a", None);
        assert_eq!(standing(None, &target, &repo("acme/shop"), false), Standing::Ours);
        assert_eq!(standing(None, &target, &repo("acme/shop"), true), Standing::Elsewhere);
    }

    #[test]
    fn what_is_not_a_grant_is_named() {
        for part in ["srv-a", "srv-a=acme", "=acme/shop", "srv-a=/shop", "srv-a=acme/", "srv-a=acme/sh*p", "a b=c/d"] {
            let error = part.parse::<Grants>().expect_err(part);
            assert!(error.to_string().contains("SERVICE=OWNER/REPOSITORY"), "{error}");
        }
        assert!("srv-a=*/*".parse::<Grants>().is_err(), "everybody is nobody");
    }
}
