//! A command line that cannot be read, told to scripts as they are told everything else.

use super::error::CliError;
use super::exit::Exit;
use super::report;
use super::screen::Screen;
use clap::error::{Error, ErrorKind};
use std::ffi::OsString;

/// Says what is wrong with the command line. `arguments` are without the program's name.
pub(crate) fn command_line(error: &Error, arguments: &[OsString]) -> Exit {
    let given = |option: &str| arguments.iter().any(|argument| argument == option);
    // Help and version go to stdout and are no error.
    if !error.use_stderr() || !given("--json") {
        let _ = error.print();
        return if error.use_stderr() { Exit::Usage } else { Exit::Done };
    }
    let screen = Screen::new(true);
    if given("--lab") {
        screen.mark_lab();
    }
    let command = arguments.iter().map(|it| it.to_string_lossy()).find(|it| !it.starts_with('-')).unwrap_or_default();
    let error = in_parts(error);
    match command.as_ref() {
        "provision" => report::not_begun(&error, None, &screen),
        _ => screen.error(&error),
    }
    error.exit()
}

/// Its first paragraph is the message; a tip, where there is one, the next step.
fn in_parts(error: &Error) -> CliError {
    let text = error.to_string();
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n").map(one_line);
    let first = paragraphs.next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "the command is not complete",
        _ => first.strip_prefix("error: ").unwrap_or(&first),
    };
    let tip = paragraphs.find_map(|it| it.strip_prefix("tip: ").map(str::to_owned));
    CliError::usage(message, tip.unwrap_or_else(|| "see the options of the command with --help".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn what_is_wrong_is_told_in_one_line_with_what_to_do() {
        for (arguments, message, next) in [
            (&["x", "setup", "pool"][..], "the following required arguments were not provided: <NAME>", "see"),
            (&["x", "lsit"], "unrecognized subcommand 'lsit'", "a similar subcommand exists: 'list'"),
            (&["x", "ledger"], "the command is not complete", "see"),
        ] {
            let error = in_parts(&Cli::try_parse_from(arguments).unwrap_err());
            assert!(error.to_string().starts_with(message), "{error}");
            assert!(error.next_step().starts_with(next), "{}", error.next_step());
        }
    }
}
