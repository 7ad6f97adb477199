//! Reading arguments as the CLI does, with its words for mistakes.

use super::CliOutput;

/// An option a command knows.
pub(super) struct Known {
    pub(super) names: &'static [&'static str],
    pub(super) takes_value: bool,
}

/// The arguments of one call.
#[derive(Default)]
pub(super) struct Args {
    set: Vec<(&'static str, String)>,
    pub(super) positional: Vec<String>,
}

impl Args {
    /// Reads `argv`; `positional_max` is how many bare arguments the command takes.
    pub(super) fn parse(
        command: &str,
        usage: &str,
        known: &[Known],
        positional_max: usize,
        argv: &[String],
    ) -> Result<Self, CliOutput> {
        let fail = |message: String| Err(CliOutput::failed(String::new(), format!("error: {message}\n")));
        let mut args = Self::default();
        let mut rest = argv.iter();
        let mut only_positional = false;
        while let Some(arg) = rest.next() {
            if only_positional || arg == "-" || !arg.starts_with('-') {
                args.positional.push(arg.clone());
                continue;
            }
            if arg == "--" {
                only_positional = true;
                continue;
            }
            if arg == "-h" || arg == "--help" {
                return Err(CliOutput::ok(usage.to_owned()));
            }
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let found = known.iter().find_map(|k| k.names.first().filter(|_| k.names.contains(&name)).map(|n| (k, *n)));
            let Some((option, canonical)) = found else { return fail(format!("unknown option '{arg}'")) };
            if !option.takes_value {
                args.set.push((canonical, String::new()));
                continue;
            }
            let Some(value) = inline.or_else(|| rest.next().cloned()) else {
                return fail(format!("option '{canonical}' argument missing"));
            };
            args.set.push((canonical, value));
        }
        let got = args.positional.len();
        if got > positional_max {
            let s = if positional_max == 1 { "" } else { "s" };
            return fail(format!(
                "too many arguments for '{command}'. Expected {positional_max} argument{s} but got {got}."
            ));
        }
        Ok(args)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.set.iter().any(|(n, _)| *n == name)
    }

    /// The last value given.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.set.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }
}
