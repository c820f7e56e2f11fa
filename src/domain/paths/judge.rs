//! A whole change against the rules: both names of every file, names that only look different, links and submodules.
//!
//! Every answer beyond the exact match of a rule only ever refuses more. It reads nothing; what it is given may be names
//! only (GitHub's list) or both sides of every file and the links of the trees (git).

use super::links::{ALIASES, Aliases, Destination, Links};
use super::name::RepoPath;
use super::{ALWAYS_PROTECTED, ChangedFile, FileKind, FileStatus, Offence, PathRules, WORKFLOWS, fold};

impl PathRules {
    /// Every offence of a change of which only names are known, in the order of its files; empty when it is clean.
    pub fn judge(&self, files: &[ChangedFile]) -> Vec<Offence> {
        self.judge_with(files, &[])
    }

    /// Every offence of a change, in the order of its files; empty when it is clean.
    ///
    /// `links` are the symbolic links of the tree before and of the tree after the change, one [`Links`] each; none when
    /// only names are known.
    pub fn judge_with(&self, files: &[ChangedFile], links: &[Links]) -> Vec<Offence> {
        files.iter().flat_map(|file| self.judge_file(file, links)).collect()
    }

    /// The offences of one file, each with its own reason.
    ///
    /// A file whose status or mode is unknown is an offence even when no rule hits it.
    pub fn judge_file(&self, file: &ChangedFile, links: &[Links]) -> Vec<Offence> {
        let mut found: Vec<Offence> = Vec::new();
        let mut tell = |path: &RepoPath, reason: String, rule: Option<String>| {
            let annotate = if file.path.is_plain() { file.path.lossy().into_owned() } else { String::new() };
            if !found.iter().any(|known| known.path == path.shown() && known.reason == reason) {
                found.push(Offence { path: path.shown(), annotate, reason, rule });
            }
        };
        for (path, is_old) in file.sides() {
            if let Some((reason, rule)) = self.of_name(path.as_bytes()).or_else(|| self.of_alias(path, links)) {
                let reason = if is_old { format!("its name before the change; {reason}") } else { reason };
                tell(path, reason, rule);
            }
        }
        for (reason, rule) in self.of_kind(file, links.last()) {
            tell(&file.path, reason, rule);
        }
        if file.status == FileStatus::Unknown && found.is_empty() {
            let annotate = file.path.lossy().into_owned();
            let reason = "GitHub reports a kind of change that this version does not know".to_owned();
            found.push(Offence { path: file.path.shown(), annotate, reason, rule: None });
        }
        found
    }

    /// Why a file of this name may not be touched, with the rule.
    fn of_name(&self, path: &[u8]) -> Option<(String, Option<String>)> {
        let answer = self.ask_bytes(path);
        match (answer.protected, answer.allowed, answer.rule) {
            (true, _, Some(rule)) if rule == ALWAYS_PROTECTED || rule == WORKFLOWS => {
                Some((format!("protected by {rule}, which holds for every policy"), Some(rule)))
            }
            (true, _, Some(rule)) => Some((format!("protected by the rule {rule}"), Some(rule))),
            (true, _, None) => Some(("not a path that a file in a repository can have".to_owned(), None)),
            (false, allowed, rule) => {
                if let Some(rule) = self.look_alike(path) {
                    let reason = format!(
                        "the same file as one that is protected by the rule {rule}, where upper and lower case or \
                         forms of Unicode are not told apart"
                    );
                    return Some((reason, Some(rule)));
                }
                if fold::fold(path).split(|b| *b == b'/').any(|part| part == b".git") {
                    return Some(("git's own folder, under a name that some systems take for it".to_owned(), None));
                }
                match rule.filter(|_| self.kept_out_by_rule(path)) {
                    _ if allowed => None,
                    Some(rule) => Some((format!("kept out of the allowed paths by {rule}"), Some(rule))),
                    None => Some(("outside the allowed paths".to_owned(), None)),
                }
            }
        }
    }

    /// The rule that protects a name or a look-alike of it, also when the name is that of a folder.
    fn protecting(&self, path: &[u8]) -> Option<String> {
        [path.to_vec(), [path, b"/"].concat()].into_iter().find_map(|path| {
            let answer = self.ask_bytes(&path);
            answer.rule.filter(|_| answer.protected).or_else(|| self.look_alike(&path))
        })
    }

    /// A file that a protected name leads to by a symbolic link is as protected as that name.
    fn of_alias(&self, path: &RepoPath, links: &[Links]) -> Option<(String, Option<String>)> {
        let aliases: Vec<Aliases> = links.iter().map(|links| links.aliases(path.as_bytes())).collect();
        let cut_off = aliases.iter().any(|aliases| aliases.cut_off).then(|| {
            let reason = format!(
                "has more than {ALIASES} other names through symbolic links, which is more than can be judged: one of them \
                 may be protected"
            );
            (reason, None)
        });
        let protected = aliases.into_iter().flat_map(|aliases| aliases.names).find_map(|(alias, link)| {
            let rule = self.protecting(&alias)?;
            let (alias, link) = (RepoPath::new(alias), RepoPath::new(link));
            Some((
                format!("read as {alias} through the link {link}, and that is protected by the rule {rule}"),
                Some(rule),
            ))
        });
        protected.or(cut_off)
    }

    /// What the kinds of the two sides say beside the name.
    fn of_kind(&self, file: &ChangedFile, links: Option<&Links>) -> Vec<(String, Option<String>)> {
        let mut found = Vec::new();
        let changed = |side: &super::TreeEntry| file.old.as_ref().is_none_or(|old| old != side);
        for side in file.old.iter().chain(&file.new) {
            match side.mode.kind() {
                FileKind::Unknown => {
                    found.push((format!("has the mode {}, which this version does not know", side.mode), None));
                }
                // git does not count a link as the folder that it stands for; a rule for the folder does mean it.
                kind @ (FileKind::Symlink | FileKind::Submodule) => {
                    let folder = [file.path.as_bytes(), b"/"].concat();
                    let answer = self.ask_bytes(&folder);
                    let rule = answer.rule.filter(|_| answer.protected).or_else(|| self.look_alike(&folder));
                    if let (Some(rule), None) = (rule, self.of_name(file.path.as_bytes())) {
                        let reason =
                            format!("{} in the place of a folder that is protected by the rule {rule}", kind.words());
                        found.push((reason, Some(rule)));
                    }
                }
                FileKind::File | FileKind::Executable => {}
            }
        }
        match file.new.as_ref().filter(|side| changed(side)) {
            Some(side) if side.mode.kind() == FileKind::Submodule => {
                let commit = &side.object[..side.object.floor_char_boundary(7)];
                found.push((
                    format!("a submodule at {commit}: its files come from another repository, where no rule of this policy can see them"),
                    None,
                ));
            }
            Some(side) if side.mode.kind() == FileKind::Symlink => {
                found.extend(self.of_link(&file.path, side.target.as_ref(), links));
            }
            _ => {}
        }
        found
    }

    /// Why a new or changed symbolic link may not lead where it leads.
    fn of_link(
        &self,
        path: &RepoPath,
        target: Option<&RepoPath>,
        links: Option<&Links>,
    ) -> Option<(String, Option<String>)> {
        let Some(target) = target else {
            return Some(("a symbolic link whose target could not be read".to_owned(), None));
        };
        let none = Links::default();
        match links.unwrap_or(&none).follow(path.as_bytes(), target.as_bytes()) {
            Destination::Absolute => Some((
                format!("a symbolic link to {target}, which is a path of the machine and not of the repository"),
                None,
            )),
            Destination::Outside => Some((format!("a symbolic link to {target}, outside the repository"), None)),
            Destination::Circle => Some((format!("a symbolic link to {target}, which leads in a circle"), None)),
            Destination::Inside(places) => {
                let end = places.last().map(Vec::as_slice).unwrap_or_default();
                if end.is_empty() {
                    let reason =
                        format!("a symbolic link to {target}, the top of the repository, and so to protected files");
                    return Some((reason, Some(ALWAYS_PROTECTED.to_owned())));
                }
                if let Some(rule) = places.iter().find_map(|place| self.protecting(place)).or_else(|| self.below(end)) {
                    let reason =
                        format!("a symbolic link to {target}, and what is there is protected by the rule {rule}");
                    return Some((reason, Some(rule)));
                }
                if fold::fold(end).split(|b| *b == b'/').any(|part| part == b".git") {
                    return Some((format!("a symbolic link to {target}, git's own folder"), None));
                }
                let inside = self.ask_bytes(end).allowed || self.ask_bytes(&[end, b"/"].concat()).allowed;
                (!inside).then(|| (format!("a symbolic link to {target}, outside the allowed paths"), None))
            }
        }
    }
}
