//! The program: subcommands and exit codes, nothing else.

fn main() {}
