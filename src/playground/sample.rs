//! The sample repository `acme/shop` with its people and its prepared pull requests, each of which tells another tale.
//!
//! Only data and the acts that plant it in the simulated GitHub. What Titan makes of it is Titan's business.

use std::collections::BTreeMap;

use crate::clock;
use crate::playground::github::model::Role;
use crate::playground::github::{Change, GitHub, SimError};

/// The sample repository.
pub const REPOSITORY: &str = "acme/shop";
/// The Render service on which changes are tried.
pub const CANARY: &str = "srv-shop-canary";
/// The Render service that the customers see.
pub const PRODUCTION: &str = "srv-shop-production";
/// What [`CANARY`] is called; the program knows it as `RENDER_SERVICE_NAME`.
pub const CANARY_NAME: &str = "shop-canary";
/// What [`PRODUCTION`] is called.
pub const PRODUCTION_NAME: &str = "shop-production";
/// The label under which Titan looks after a pull request.
pub const LABEL: &str = "titan-ops";

/// Who works on the shop, and what they may do.
pub const PEOPLE: [(&str, Role); 4] =
    [("alice", Role::Admin), ("bob", Role::Maintain), ("carol", Role::Write), ("dave", Role::Read)];

/// The shop's files on its main branch. The policy has two places for the services' addresses.
const FILES: [(&str, &str); 12] = [
    (".gitignore", include_str!("sample/shop/gitignore")),
    ("README.md", include_str!("sample/shop/README.md")),
    ("docs/operations.md", include_str!("sample/shop/docs/operations.md")),
    ("infra/main.tf", include_str!("sample/shop/infra/main.tf")),
    ("package-lock.json", include_str!("sample/shop/package-lock.json")),
    ("package.json", include_str!("sample/shop/package.json")),
    ("scripts/build.js", include_str!("sample/shop/scripts/build.js")),
    ("server.js", include_str!("sample/shop/server.js")),
    ("service.json", include_str!("sample/shop/service.json")),
    ("src/index.html", include_str!("sample/shop/src/index.html")),
    ("src/prices.js", include_str!("sample/shop/src/prices.js")),
    ("src/style.css", include_str!("sample/shop/src/style.css")),
];
/// The file that [`push`] adds a line to.
const NOTES: &str = "docs/notes.md";
const POLICY: &str = include_str!("sample/shop/.github/titan.yml");

/// A prepared pull request.
#[derive(Debug)]
pub struct Tale {
    /// The number it gets.
    pub number: u64,
    /// Its branch.
    pub branch: &'static str,
    /// Who opens it.
    pub author: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its description, Markdown.
    pub body: &'static str,
    /// File, text in it, and what stands there instead.
    edits: &'static [(&'static str, &'static str, &'static str)],
}

/// The prepared pull requests, in the order of their numbers.
pub const TALES: [Tale; 5] = [
    Tale {
        number: 1,
        branch: "greet-visitors",
        author: "carol",
        title: "Greet the visitors",
        body: "A line of welcome under the title.\n\n\
               *How this tale goes: everything is well. `/titan propose`, `/titan canary`, `/titan promote`.*",
        edits: &[(
            "src/index.html",
            "<p class=\"message\">{{message}}</p>",
            "<p class=\"message\">{{message}}</p>\n    <p class=\"welcome\">Welcome! The kettle is on.</p>",
        )],
    },
    Tale {
        number: 2,
        branch: "move-to-oregon",
        author: "carol",
        title: "Move the database to Oregon",
        body: "Closer to our customers on the west coast.\n\n\
               *How this tale goes: `infra/` is protected by the policy, so `/titan propose` says no and why.*",
        edits: &[
            ("infra/main.tf", "default = \"frankfurt\"", "default = \"oregon\""),
            ("README.md", "A small web shop: three kinds", "A small web shop near the Pacific: three kinds"),
        ],
    },
    Tale {
        number: 3,
        branch: "round-prices",
        author: "bob",
        title: "Show round prices without pence",
        body: "£4 looks better than £4.00.\n\n\
               *How this tale goes: a bracket is missing, so the build that `/titan propose` starts is red.*",
        edits: &[(
            "src/prices.js",
            "return `£${(pence / 100).toFixed(2)}`;",
            "return `£${(pence / 100).toFixed(pence % 100 ? 2 : 0}`;",
        )],
    },
    Tale {
        number: 4,
        branch: "keep-prices-in-memory",
        author: "carol",
        title: "Keep the price list in memory",
        body: "Saves reading the list for every visitor.\n\n\
               *How this tale goes: the memory is never given back. The service starts well and falls ill after some \
               seconds, while `/titan canary` watches it. Titan puts the canary back.*",
        edits: &[("service.json", "\"health\": \"ok\"", "\"health\": {\"failing_after_ms\": 3000}")],
    },
    Tale {
        number: 5,
        branch: "send-receipts",
        author: "bob",
        title: "Send receipts by mail",
        body: "Customers get their receipt by mail. Only production has a mail server.\n\n\
               *How this tale goes: the canary has no mail server and is well; production falls ill some seconds after \
               `/titan promote`. Titan brings the last good version back and opens a pull request that reverts this.*",
        edits: &[(
            "service.json",
            "\"message\": \"Tea, and nothing but tea.\",",
            "\"message\": \"Tea, and nothing but tea.\",\n  \"services\": {\"shop-production\": \
             {\"health\": {\"failing_after_ms\": 3000}}},",
        )],
    },
];

/// Makes the repository with its people, its main branch and the branches of the tales; no pull request yet. Blocks
/// while git works.
///
/// # Errors
/// When git refuses, or the repository exists.
pub fn plant(github: &GitHub, canary_url: &str, production_url: &str) -> Result<(), SimError> {
    github.create_repository(REPOSITORY, false)?;
    for (login, role) in PEOPLE {
        github.set_role(REPOSITORY, login, role)?;
    }
    github.create_label(REPOSITORY, LABEL, "2f8f76")?;
    let mut files: BTreeMap<&str, String> = FILES.into_iter().map(|(path, text)| (path, text.to_owned())).collect();
    let policy = POLICY.replace("{{canary_url}}", canary_url).replace("{{production_url}}", production_url);
    files.insert(".github/titan.yml", policy);
    github.commit(REPOSITORY, "main", "alice", &change("Open the shop", &files))?;
    for tale in &TALES {
        let changed = tale.apply(&files).map_err(SimError::invalid)?;
        github.commit(REPOSITORY, tale.branch, tale.author, &change(tale.title, &changed))?;
    }
    Ok(())
}

/// Installs the App and opens the pull requests, in the order of their numbers. The App is told of each.
///
/// # Errors
/// When the repository was not planted.
pub fn open(github: &GitHub) -> Result<(), SimError> {
    github.install(&[REPOSITORY])?;
    for tale in &TALES {
        github.open_pull(REPOSITORY, tale.author, tale.title, tale.body, tale.branch, "main")?;
    }
    Ok(())
}

/// Adds a commit to a pull request's branch that changes nothing but a line of the docs.
///
/// # Errors
/// When there is no such pull request, or git refuses.
pub fn push(github: &GitHub, number: u64, login: &str) -> Result<(), SimError> {
    let branch = github.read(|state| Ok::<_, SimError>(state.pull(REPOSITORY, number)?.1.head_ref.clone()))?;
    let before = github.file(REPOSITORY, &branch, NOTES).unwrap_or_else(|| b"# Notes\n\n".to_vec());
    let mut text = String::from_utf8_lossy(&before).into_owned();
    text.push_str(&format!("- {login} looked at this on {}\n", clock::now().format("%A at %H:%M:%S")));
    github.commit(REPOSITORY, &branch, login, &Change::new("Take a note").file(NOTES, text))?;
    Ok(())
}

fn change(message: &str, files: &BTreeMap<&'static str, String>) -> Change {
    files.iter().fold(Change::new(message), |change, (path, text)| change.file(path, text))
}

impl Tale {
    /// The changed files.
    fn apply(&self, files: &BTreeMap<&'static str, String>) -> Result<BTreeMap<&'static str, String>, String> {
        let mut changed: BTreeMap<&'static str, String> = BTreeMap::new();
        for (path, from, to) in self.edits {
            let before = changed.get(path).or_else(|| files.get(path));
            let after = before.filter(|text| text.contains(from)).map(|text| text.replacen(from, to, 1));
            let after = after.ok_or_else(|| format!("{path} does not hold {from:?}"))?;
            changed.insert(path, after);
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Policy;
    use crate::playground::render::behaviour::{Behaviour, FILE, Health};

    fn files() -> BTreeMap<&'static str, String> {
        FILES.into_iter().map(|(path, text)| (path, text.to_owned())).collect()
    }

    #[test]
    fn every_tale_changes_what_it_says_and_the_services_behave_accordingly() {
        let health = |changed: &BTreeMap<&str, String>, service: &str| {
            let file = changed.get(FILE).map(|text| text.as_bytes());
            Behaviour::read(file, service).expect("a valid file").health
        };
        let ill = Health::FailingAfterMs(3000);
        for tale in &TALES {
            let changed = tale.apply(&files()).expect(tale.title);
            let expected = match tale.number {
                4 => (ill.clone(), ill.clone()),
                5 => (Health::Ok, ill.clone()),
                _ => (Health::Ok, Health::Ok),
            };
            assert_eq!((health(&changed, CANARY_NAME), health(&changed, PRODUCTION_NAME)), expected, "{}", tale.title);
        }
    }

    #[test]
    fn the_policy_is_one_that_titan_takes() {
        let text =
            POLICY.replace("{{canary_url}}", "http://127.0.0.1:1").replace("{{production_url}}", "http://127.0.0.1:2");
        let policy = Policy::parse(&text).expect("a valid policy");
        assert!(policy.projects.values().all(|project| project.canary.is_some() && project.production.is_some()));
    }
}
