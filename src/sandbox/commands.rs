//! Which commands build a change: the policy's lines split into words, or what the lock file in the checkout tells.
//!
//! There is no shell, so whatever only a shell understands is refused with what to do instead, not passed on to a
//! program that would take it for an argument.

use std::path::Path;

use crate::domain::policy::Build;

/// A lock file and the commands that it stands for.
struct Tool {
    files: &'static [&'static str],
    commands: &'static [&'static [&'static str]],
}

const TOOLS: [Tool; 6] = [
    Tool {
        files: &["package-lock.json", "npm-shrinkwrap.json"],
        commands: &[&["npm", "ci"], &["npm", "run", "build"]],
    },
    Tool {
        files: &["pnpm-lock.yaml"],
        commands: &[&["pnpm", "install", "--frozen-lockfile"], &["pnpm", "run", "build"]],
    },
    Tool { files: &["yarn.lock"], commands: &[&["yarn", "install", "--frozen-lockfile"], &["yarn", "run", "build"]] },
    Tool {
        files: &["bun.lock", "bun.lockb"],
        commands: &[&["bun", "install", "--frozen-lockfile"], &["bun", "run", "build"]],
    },
    Tool { files: &["Cargo.lock"], commands: &[&["cargo", "build", "--locked"]] },
    Tool { files: &["go.sum", "go.mod"], commands: &[&["go", "build", "./..."]] },
];

const WRITE_IT: &str =
    "write the commands in .github/titan.yml, for example: build: {run: [\"npm ci\", \"npm run build\"]}";

/// The commands of a build, each a program and its arguments; at least one.
///
/// # Errors
/// A sentence for the author of the policy: what was found and what to write.
pub fn find_commands(workspace: &Path, policy: &Build) -> Result<Vec<Vec<String>>, String> {
    match &policy.run {
        Some(lines) if lines.is_empty() => Err(format!("build.run is empty; {WRITE_IT}")),
        Some(lines) => lines.iter().map(|line| split(line)).collect(),
        None => from_lock_file(workspace),
    }
}

fn from_lock_file(workspace: &Path) -> Result<Vec<Vec<String>>, String> {
    let there = |name: &str| workspace.join(name).symlink_metadata().is_ok_and(|seen| seen.is_file());
    let present = |tool: &Tool| tool.files.iter().copied().find(|name| there(name));
    let found: Vec<(&str, &Tool)> = TOOLS.iter().filter_map(|tool| Some((present(tool)?, tool))).collect();
    match found.as_slice() {
        [(_, tool)] => {
            Ok(tool.commands.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect())
        }
        [] if there("package.json") => Err(format!(
            "there is a package.json but no lock file, so a build would not be repeatable; commit package-lock.json, or \
             {WRITE_IT}"
        )),
        [] => Err(format!("no lock file tells how to build this repository; {WRITE_IT}")),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            Err(format!("there are several lock files ({}); {WRITE_IT}", names.join(", ")))
        }
    }
}

/// A command as text, with quotes where a word needs them.
pub(super) fn shown(words: &[String]) -> String {
    let plain =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=@%+,^".contains(&b));
    let quoted = words.iter().map(|word| match plain(word) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Splits one line as a shell would, without being one: quotes and backslashes are honoured, the rest is refused.
fn split(line: &str) -> Result<Vec<String>, String> {
    let refuse = |what: &str| {
        format!(
            "the build command `{line}` {what}, but commands run without a shell; write each command on a line of its \
             own, or put them in a script in the repository and run that"
        )
    };
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(other) => word.push(other),
                        None => return Err(format!("the build command `{line}` has a quote that does not end")),
                    }
                }
            }
            '"' => quoted(&mut characters, word.get_or_insert_default(), line, &refuse)?,
            '\\' => match characters.next() {
                Some(other) => word.get_or_insert_default().push(other),
                None => return Err(format!("the build command `{line}` ends with a backslash")),
            },
            '&' | '|' | ';' | '\n' => return Err(refuse("joins commands")),
            '<' | '>' => return Err(refuse("redirects")),
            '$' | '`' => return Err(refuse("uses a variable or another command's output")),
            '(' | ')' => return Err(refuse("uses parentheses")),
            '#' if word.is_none() => return Err(refuse("has a comment")),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    match words.first() {
        None => Err(format!("a build command is empty; {WRITE_IT}")),
        Some(first) if is_assignment(first) => {
            Err(format!("the build command `{line}` sets a variable the way a shell does; write `env {line}` instead"))
        }
        Some(_) => Ok(words),
    }
}

/// The inside of double quotes.
fn quoted(
    characters: &mut std::str::Chars<'_>,
    word: &mut String,
    line: &str,
    refuse: &impl Fn(&str) -> String,
) -> Result<(), String> {
    loop {
        match characters.next() {
            Some('"') => return Ok(()),
            Some('$' | '`') => return Err(refuse("uses a variable or another command's output")),
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => return Err(format!("the build command `{line}` has a quote that does not end")),
            },
            Some(other) => word.push(other),
            None => return Err(format!("the build command `{line}` has a quote that does not end")),
        }
    }
}

/// `NAME=value` in front of a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let mut letters = name.bytes();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn words(line: &str) -> Result<Vec<String>, String> {
        split(line)
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (line, expected) in [
            ("npm ci", vec!["npm", "ci"]),
            ("  npm\t run   build ", vec!["npm", "run", "build"]),
            ("echo 'a b' \"c d\" e\\ f", vec!["echo", "a b", "c d", "e f"]),
            (r#"echo "say \"hi\"" 'it'\''s' "" a"b"c"#, vec!["echo", "say \"hi\"", "it's", "", "abc"]),
            (r#"echo '$HOME && x' "a & b; (c)" \$5"#, vec!["echo", "$HOME && x", "a & b; (c)", "$5"]),
            (r#"echo "C:\dir" a#b --x=1 *.js"#, vec!["echo", "C:\\dir", "a#b", "--x=1", "*.js"]),
            ("env A=1 make", vec!["env", "A=1", "make"]),
        ] {
            assert_eq!(
                words(line).as_deref(),
                Ok(expected.iter().map(|&w| w.to_owned()).collect::<Vec<_>>().as_slice())
            );
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused_with_a_way_out() {
        for line in [
            "npm ci && npm run build",
            "a | b",
            "a; b",
            "a &",
            "a\nb",
            "echo $HOME",
            "echo $(id)",
            "echo `id`",
            "echo \"$HOME\"",
            "a > out",
            "a < in",
            "a 2>&1",
            "(a)",
            "make # all",
        ] {
            let why = words(line).expect_err(line);
            assert!(why.contains("without a shell") && why.contains("script"), "{why}");
        }
        assert!(words("A=1 make").expect_err("an assignment").contains("write `env A=1 make`"));
        for line in ["echo 'a", "echo \"a", "echo a\\", "", "   ", "echo \"a\\"] {
            assert!(words(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_command_is_shown_so_that_it_reads_back_the_same() {
        for line in ["npm ci", "echo 'a b' ''", r#"node -e 'it'\''s; $x'"#] {
            let split = words(line).expect("a command");
            assert_eq!(words(&shown(&split)), Ok(split));
        }
    }

    #[test]
    fn the_lock_file_tells_and_doubt_is_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let build = Build { run: None, timeout: Duration::from_secs(1), network: Default::default() };
        let find = || find_commands(place.path(), &build);
        let touch = |name: &str| std::fs::write(place.path().join(name), "{}").expect("a file");
        assert!(find().expect_err("nothing there").contains(".github/titan.yml"));
        touch("package.json");
        assert!(find().expect_err("no lock").contains("commit package-lock.json"));
        touch("package-lock.json");
        let npm: Vec<String> = find().expect("npm").iter().map(|words| shown(words)).collect();
        assert_eq!(npm, ["npm ci", "npm run build"]);
        touch("Cargo.lock");
        assert!(find().expect_err("two").contains("package-lock.json, Cargo.lock"));
        let policy = Build {
            run: Some(vec!["make all".to_owned()]),
            timeout: Duration::from_secs(1),
            network: Default::default(),
        };
        assert_eq!(find_commands(place.path(), &policy), Ok(vec![vec!["make".to_owned(), "all".to_owned()]]));
    }
}
