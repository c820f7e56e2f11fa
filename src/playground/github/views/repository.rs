//! Repositories, labels and collaborators. Figures that the simulator does not keep (stars, size) are 0.

use serde_json::{Value, json};

use super::{View, encode, extend, node_id, time};
use crate::playground::github::model::{Label, Repository, Role};

impl View<'_> {
    /// API address of a repository.
    pub fn repository_url(&self, repository: &Repository) -> String {
        format!("{}/repos/{}", self.state.api, repository.full_name())
    }

    /// Page of a repository.
    pub fn repository_page(&self, repository: &Repository) -> String {
        format!("{}/{}", self.state.web, repository.full_name())
    }

    /// GitHub's `repository`.
    pub fn repository(&self, repository: &Repository) -> Value {
        let mut value = self.repository_links(repository);
        let open = repository.issues.values().filter(|issue| issue.open).count();
        let allows = |method: &str| repository.merge_methods.iter().any(|known| known == method);
        extend(
            &mut value,
            json!({
                "id": repository.id,
                "node_id": node_id("R", repository.id),
                "name": repository.name,
                "full_name": repository.full_name(),
                "private": repository.private,
                "visibility": if repository.private { "private" } else { "public" },
                "owner": self.user(&repository.owner),
                "description": repository.description,
                "fork": repository.fork_of.is_some(),
                "created_at": time(repository.created_at),
                "updated_at": time(repository.pushed_at),
                "pushed_at": time(repository.pushed_at),
                "homepage": null, "mirror_url": null, "language": null, "license": null,
                "size": 0, "stargazers_count": 0, "watchers_count": 0, "watchers": 0,
                "forks_count": self.forks(repository), "forks": self.forks(repository),
                "open_issues_count": open, "open_issues": open,
                "default_branch": repository.default_branch,
            }),
        );
        extend(
            &mut value,
            json!({
                "is_template": false, "topics": [],
                "has_issues": true, "has_projects": true, "has_downloads": true, "has_wiki": true, "has_pages": false,
                "has_discussions": false, "archived": repository.archived, "disabled": false,
                "allow_forking": true, "web_commit_signoff_required": false,
                "allow_merge_commit": allows("merge"), "allow_squash_merge": allows("squash"),
                "allow_rebase_merge": allows("rebase"), "allow_auto_merge": false, "delete_branch_on_merge": false,
                "allow_update_branch": false,
            }),
        );
        value
    }

    /// GitHub's `minimal-repository`: without its rules for merging.
    pub fn minimal_repository(&self, repository: &Repository) -> Value {
        let mut value = self.repository(repository);
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|name, _| name == "allow_forking" || !name.starts_with("allow_"));
        }
        value
    }

    /// GitHub's `full-repository`: what one repository's own address answers.
    pub fn full_repository(&self, repository: &Repository) -> Value {
        let mut value = self.repository(repository);
        extend(
            &mut value,
            json!({
                "subscribers_count": 0,
                "network_count": self.forks(repository),
                "use_squash_pr_title_as_default": false,
                "squash_merge_commit_message": "COMMIT_MESSAGES",
                "squash_merge_commit_title": "COMMIT_OR_PR_TITLE",
                "merge_commit_message": "PR_TITLE",
                "merge_commit_title": "MERGE_MESSAGE",
            }),
        );
        if let Some(parent) = repository.fork_of.as_ref().and_then(|name| self.state.repository(name)) {
            extend(&mut value, json!({ "parent": self.repository(parent), "source": self.repository(parent) }));
        }
        value
    }

    fn forks(&self, repository: &Repository) -> usize {
        let name = repository.full_name();
        self.state.repositories.values().filter(|other| other.fork_of.as_ref() == Some(&name)).count()
    }

    fn repository_links(&self, repository: &Repository) -> Value {
        let (url, page) = (self.repository_url(repository), self.repository_page(repository));
        let clone = format!("{}/{}.git", self.state.api, repository.full_name());
        let mut links = json!({
            "url": url, "html_url": page, "clone_url": clone, "svn_url": page,
            "git_url": format!("git:{}", clone.trim_start_matches("http:")),
            "ssh_url": format!("git@127.0.0.1:{}.git", repository.full_name()),
        });
        let simple = [
            "contributors",
            "deployments",
            "downloads",
            "events",
            "forks",
            "hooks",
            "languages",
            "merges",
            "stargazers",
            "subscribers",
            "subscription",
            "tags",
            "teams",
        ];
        for name in simple {
            extend(&mut links, json!({ format!("{name}_url"): format!("{url}/{name}") }));
        }
        let templates = [
            ("archive_url", "{archive_format}{/ref}"),
            ("assignees_url", "assignees{/user}"),
            ("blobs_url", "git/blobs{/sha}"),
            ("branches_url", "branches{/branch}"),
            ("collaborators_url", "collaborators{/collaborator}"),
            ("comments_url", "comments{/number}"),
            ("commits_url", "commits{/sha}"),
            ("compare_url", "compare/{base}...{head}"),
            ("contents_url", "contents/{+path}"),
            ("git_commits_url", "git/commits{/sha}"),
            ("git_refs_url", "git/refs{/sha}"),
            ("git_tags_url", "git/tags{/sha}"),
            ("issue_comment_url", "issues/comments{/number}"),
            ("issue_events_url", "issues/events{/number}"),
            ("issues_url", "issues{/number}"),
            ("keys_url", "keys{/key_id}"),
            ("labels_url", "labels{/name}"),
            ("milestones_url", "milestones{/number}"),
            ("pulls_url", "pulls{/number}"),
            ("notifications_url", "notifications{?since,all,participating}"),
            ("releases_url", "releases{/id}"),
            ("statuses_url", "statuses/{sha}"),
            ("trees_url", "git/trees{/sha}"),
        ];
        for (name, template) in templates {
            extend(&mut links, json!({ name: format!("{url}/{template}") }));
        }
        links
    }

    /// GitHub's `label`.
    pub fn label(&self, repository: &Repository, label: &Label) -> Value {
        json!({
            "id": label.id,
            "node_id": node_id("LA", label.id),
            "url": format!("{}/labels/{}", self.repository_url(repository), encode(&label.name)),
            "name": label.name,
            "color": label.color,
            "default": false,
            // GitHub sends null for none, but its own schema of a list of pull requests wants text.
            "description": label.description.as_deref().unwrap_or_default(),
        })
    }

    /// The labels of these names, in this order.
    pub fn labels(&self, repository: &Repository, names: &[String]) -> Value {
        let known = names.iter().filter_map(|name| repository.label(name));
        known.map(|label| self.label(repository, label)).collect::<Vec<_>>().into()
    }

    /// GitHub's `repository-collaborator-permission`; `None` for an unknown login.
    pub fn collaborator_permission(&self, repository: &Repository, login: &str) -> Option<Value> {
        let account = self.state.account(login)?;
        let role = self.state.role(repository, login);
        let mut user = self.account(account);
        let custom = repository.custom_roles.iter().find(|(known, _)| known.eq_ignore_ascii_case(login));
        let name = custom.map_or(role.name(), |(_, name)| name.as_str());
        extend(&mut user, json!({ "permissions": role_flags(role), "role_name": name }));
        Some(json!({ "permission": role.permission(), "role_name": name, "user": user }))
    }
}

fn role_flags(role: Role) -> Value {
    json!({
        "admin": role >= Role::Admin,
        "maintain": role >= Role::Maintain,
        "push": role >= Role::Write,
        "triage": role >= Role::Triage,
        "pull": role >= Role::Read,
    })
}
