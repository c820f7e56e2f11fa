//! Making blobs, trees, commits and refs. Knows nothing of who may.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone as _, Utc};

use super::{Git, GitError, NO_COMMIT, is_object_id};

/// Who wrote or committed something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// A person's or bot's name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// To the second.
    pub at: DateTime<Utc>,
}

impl Signature {
    /// GitHub itself, which commits what is merged with its button.
    pub fn github(at: DateTime<Utc>) -> Self {
        Self { name: "GitHub".into(), email: "noreply@github.com".into(), at }
    }

    /// Reads git's form: `Name <mail> seconds zone`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('<')?;
        let (email, when) = rest.split_once('>')?;
        let seconds: i64 = when.split_ascii_whitespace().next()?.parse().ok()?;
        let at = Utc.timestamp_opt(seconds, 0).single()?;
        Some(Self { name: name.trim().to_owned(), email: email.to_owned(), at })
    }

    /// Git's form, in UTC; characters that would break the line are left out.
    fn line(&self) -> String {
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "").trim().to_owned();
        format!("{} <{}> {} +0000", clean(&self.name), clean(&self.email), self.at.timestamp())
    }
}

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileMode {
    /// `100644`
    #[default]
    Plain,
    /// `100755`
    Executable,
    /// `120000`; the content is the target.
    Symlink,
}

impl FileMode {
    /// Six octal digits.
    pub fn octal(self) -> &'static str {
        match self {
            Self::Plain => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }
}

/// One change of a tree: an object of this mode at this path, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChange {
    /// From the top of the tree.
    pub path: String,
    /// Mode (six octal digits) and object id; `None` removes the path.
    pub entry: Option<(String, String)>,
}

impl Git {
    /// Stores a blob and returns its id.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<String, GitError> {
        let out = self.run(&["hash-object", "-w", "--stdin"], Some(bytes))?;
        one_id(&out, "hash-object")
    }

    /// Stores several blobs at once and returns their ids, in the same order.
    fn write_blobs(&self, blobs: &[&[u8]]) -> Result<Vec<String>, GitError> {
        let mut input = Vec::new();
        for (index, blob) in blobs.iter().enumerate() {
            input.extend_from_slice(format!("blob\nmark :{}\ndata {}\n", index + 1, blob.len()).as_bytes());
            input.extend_from_slice(blob);
            input.extend_from_slice(format!("\nget-mark :{}\n", index + 1).as_bytes());
        }
        let out = self.run(&["fast-import", "--quiet"], Some(&input))?;
        let ids: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        if ids.len() == blobs.len() { Ok(ids) } else { Err(GitError::Unreadable("fast-import")) }
    }

    /// A tree made from `base` (a tree or nothing) with these changes.
    ///
    /// # Errors
    /// [`GitError::Failed`] when an object does not exist or paths contradict each other.
    pub fn write_tree(&self, base: Option<&str>, changes: &[TreeChange]) -> Result<String, GitError> {
        let index = self.dir.join(format!("index-{}", uuid::Uuid::new_v4()));
        let result = self.write_tree_with(&index, base, changes);
        std::fs::remove_file(&index).ok();
        result
    }

    fn write_tree_with(
        &self,
        index: &std::path::Path,
        base: Option<&str>,
        changes: &[TreeChange],
    ) -> Result<String, GitError> {
        let command = || {
            let mut command = self.command();
            command.env("GIT_INDEX_FILE", index);
            command
        };
        match base {
            Some(base) => self.run_with(command(), &["read-tree", base], None)?,
            None => self.run_with(command(), &["read-tree", "--empty"], None)?,
        };
        let mut lines = Vec::new();
        for change in changes {
            match &change.entry {
                Some((mode, sha)) if mode == "040000" => {
                    self.run_with(
                        command(),
                        &["rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", &change.path],
                        None,
                    )
                    .ok();
                    let prefix = format!("--prefix={}/", change.path);
                    self.run_with(command(), &["read-tree", &prefix, sha], None)?;
                }
                Some((mode, sha)) => lines.push(format!("{mode} {sha}\t{}\0", change.path)),
                None => lines.push(format!("0 {NO_COMMIT}\t{}\0", change.path)),
            }
        }
        let input = lines.concat();
        self.run_with(
            command(),
            &["update-index", "-z", "--add", "--replace", "--index-info"],
            Some(input.as_bytes()),
        )?;
        let out = self.run_with(command(), &["write-tree"], None)?;
        one_id(&out, "write-tree")
    }

    /// Stores a commit and returns its id. No ref moves.
    pub fn write_commit(
        &self,
        tree: &str,
        parents: &[&str],
        author: &Signature,
        committer: &Signature,
        message: &str,
    ) -> Result<String, GitError> {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        text.push_str(&format!("author {}\ncommitter {}\n\n", author.line(), committer.line()));
        text.push_str(message.trim_end_matches('\n'));
        text.push('\n');
        let out = self.run(&["hash-object", "-t", "commit", "-w", "--stdin"], Some(text.as_bytes()))?;
        one_id(&out, "hash-object")
    }

    /// A commit with these files changed on top of `parent` (or as a first commit); `None` deletes a file.
    pub fn write_files(
        &self,
        parent: Option<&str>,
        files: &BTreeMap<String, Option<(FileMode, Vec<u8>)>>,
        author: &Signature,
        message: &str,
    ) -> Result<String, GitError> {
        let blobs: Vec<&[u8]> = files.values().flatten().map(|(_, bytes)| bytes.as_slice()).collect();
        let mut ids = match blobs.as_slice() {
            [] => Vec::new(),
            [only] => vec![self.write_blob(only)?],
            several => self.write_blobs(several)?,
        }
        .into_iter();
        let mut changes = Vec::new();
        for (path, content) in files {
            let entry = content.as_ref().and_then(|(mode, _)| Some((mode.octal().to_owned(), ids.next()?)));
            changes.push(TreeChange { path: path.clone(), entry });
        }
        let tree = self.write_tree(parent, &changes)?;
        let parents: Vec<&str> = parent.into_iter().collect();
        self.write_commit(&tree, &parents, author, author, message)
    }

    /// Points a ref at a commit, whatever it pointed to before.
    pub fn set_ref(&self, name: &str, sha: &str) -> Result<(), GitError> {
        let moved = self.run(&["update-ref", name, sha], None);
        self.forget_refs();
        moved.map(|_| ())
    }

    /// Removes a ref; one that is not there is fine.
    pub fn delete_ref(&self, name: &str) -> Result<(), GitError> {
        let removed = self.run(&["update-ref", "-d", name], None);
        self.forget_refs();
        removed.map(|_| ())
    }

    /// Whether git accepts the full ref name.
    pub fn is_ref_name(&self, name: &str) -> bool {
        name.starts_with("refs/") && self.run(&["check-ref-format", name], None).is_ok()
    }
}

fn one_id(out: &[u8], command: &'static str) -> Result<String, GitError> {
    let id = String::from_utf8_lossy(out).trim().to_owned();
    if is_object_id(&id) { Ok(id) } else { Err(GitError::Unreadable(command)) }
}
