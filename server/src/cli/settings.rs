//! Where a setting's value comes from: flags over the environment over the file over defaults.
//!
//! clap's definitions of the flags are the only list of settings: a flag `--data-dir` has the
//! variable `ROLLCALL_DATA_DIR` and, by the name of its field, a key in the file. A value from
//! there is checked by the flag's own parser and then takes the place of the flag's default; so
//! what the command line says always wins, and a command sees values, not sources.
//!
//! Reads no file format: that is [`mod@file`]'s. What a value means is the commands' business.

mod file;
#[cfg(test)]
mod tests;

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::Path;

use clap::builder::StyledStr;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use rollcall_shared::id::NodeId;

use super::Cli;
use super::args::{ClientArgs, GlobalArgs, Tunables};
use super::failure::Failure;
use super::values::Timeout;

/// A command line with every setting resolved.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) cli: Cli,
    /// The matches of the command itself, for [`flags`].
    pub(crate) matches: ArgMatches,
}

/// Resolves a command line; `environment` looks a variable up.
pub(crate) fn parse(
    arguments: &[OsString],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, Failure> {
    let command = command();
    let given = command.clone().try_get_matches_from(arguments)?;
    let Some((name, matches)) = given.subcommand() else {
        unreachable!("clap has refused a command line without a command");
    };
    let settings = settings(&command);
    let entries = match config_path(matches, &environment)? {
        Some(path) => file::read(Path::new(&path), &settings)?,
        None => Vec::new(),
    };

    let used: Vec<&Setting> = settings.iter().filter(|setting| setting.command == name).collect();
    let mut decided = Decided::new(exclusive_groups(&command, name), matches);
    let mut layer = Vec::new();
    for setting in &used {
        if let Some(values) = setting.environment_values(&environment)? {
            layer.push((setting.key().to_owned(), values));
        }
    }
    decided.admit(layer, "the environment")?;
    let is_used = |entry: &file::Entry| {
        used.iter().any(|setting| setting.table == entry.table && setting.key() == entry.key)
    };
    let entries = entries.into_iter().filter(is_used);
    decided.admit(entries.map(|entry| (entry.key, entry.values)).collect(), "the file")?;

    let resolved =
        with_defaults(command, name, decided.defaults).try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&resolved)?;
    let Some((_, matches)) = resolved.subcommand() else {
        unreachable!("the same command line named a command before");
    };
    Ok(Invocation { cli, matches: matches.clone() })
}

/// The flags that make another `rollcall` use the values these matches hold for `keys`.
pub(crate) fn flags(matches: &ArgMatches, keys: &[String]) -> Vec<OsString> {
    let command = command();
    let mut flags = Vec::new();
    let own = command.get_subcommands().flat_map(Command::get_arguments);
    for arg in own.chain(command.get_arguments()) {
        let (Some(long), key) = (arg.get_long(), arg.get_id().as_str()) else { continue };
        if !keys.iter().any(|wanted| wanted == key) || flags_has(&flags, long) {
            continue;
        }
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            let is_on = matches.get_flag(key);
            flags.extend(is_on.then(|| OsString::from(format!("--{long}"))));
            continue;
        }
        for value in matches.get_raw(key).into_iter().flatten() {
            let mut flag = OsString::from(format!("--{long}="));
            flag.push(value);
            flags.push(flag);
        }
    }
    flags
}

/// Whether a flag is among those that another command with the same one has led to.
fn flags_has(flags: &[OsString], long: &str) -> bool {
    let same =
        |flag: &str| flag.split('=').next().and_then(|name| name.strip_prefix("--")) == Some(long);
    flags.iter().any(|flag| same(&flag.to_string_lossy()))
}

/// The keys of the flags a struct defines.
pub(crate) fn keys_of<A: Args>() -> Vec<String> {
    let command = A::augment_args(Command::new("keys"));
    command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

/// The command line, with each flag's help naming its variable and key.
pub(crate) fn command() -> Command {
    let mut command = Cli::command();
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let describe = |table: &str, arg: Arg| {
        let Some(variable) = variable(&arg) else { return arg };
        let key = match (arg.get_id().as_str(), table) {
            ("config", _) => String::new(),
            (key, "") => format!("; key: {key}"),
            (key, table) => format!("; key: {table}.{key}"),
        };
        let mut help = arg.get_help().cloned().unwrap_or_else(StyledStr::new);
        // clap says other defaults itself.
        let default = match (arg.get_action(), arg.get_default_values()) {
            (ArgAction::SetTrue, _) => " [default: off]",
            (_, []) if !help.to_string().contains("[default: ") => " [default: none]",
            _ => "",
        };
        let _ = write!(help, "{default} [env: {variable}{key}]");
        arg.help(help)
    };
    command = command.mut_args(|arg| describe("", arg));
    for name in names {
        let table = |arg: &Arg| table(&name, arg.get_id().as_str());
        command =
            command.mut_subcommand(&name, |sub| sub.mut_args(|arg| describe(&table(&arg), arg)));
    }
    command
}

/// One flag of one command, as a setting.
#[derive(Clone, Debug)]
struct Setting {
    command: String,
    /// The table of the file its key is in; empty for the top level.
    table: String,
    variable: String,
    arg: Arg,
}

/// How the file writes a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Whole,
    /// A whole number in the file, a time with a unit elsewhere.
    Milliseconds,
    Text,
    Texts,
    /// Texts, or a table from number to text.
    Members,
}

impl Setting {
    fn key(&self) -> &str {
        self.arg.get_id().as_str()
    }

    fn kind(&self) -> Kind {
        let parser = self.arg.get_value_parser();
        let is = |id: TypeId| parser.type_id() == id;
        let numbers =
            [TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>(), TypeId::of::<NodeId>()];
        match self.arg.get_action() {
            ArgAction::SetTrue => Kind::Boolean,
            ArgAction::Append if self.key() == "members" => Kind::Members,
            ArgAction::Append => Kind::Texts,
            _ if numbers.into_iter().any(is) => Kind::Whole,
            _ if is(TypeId::of::<Timeout>()) => Kind::Milliseconds,
            _ => Kind::Text,
        }
    }

    /// What the environment says, checked; an empty variable says nothing.
    fn environment_values(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Vec<String>>, Failure> {
        let Some(value) = environment(&self.variable).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let fault = |shown: &str, reason: &str| {
            let shown = if self.key() == "token" { "…" } else { shown };
            Err(Failure::Usage(format!(
                "environment variable {}: {shown:?} is wrong: {reason}",
                self.variable
            )))
        };
        let Some(text) = value.to_str() else {
            return fault(&value.to_string_lossy(), "must be UTF-8");
        };
        let values = match self.kind() {
            Kind::Boolean => match boolean(text) {
                Some(value) => vec![value.to_string()],
                None => return fault(text, "must be true or false"),
            },
            Kind::Texts | Kind::Members => {
                text.split(',').map(|part| part.trim().to_owned()).collect()
            }
            _ => vec![text.to_owned()],
        };
        for value in &values {
            if let Err(reason) = self.check(value) {
                return fault(value, &reason);
            }
        }
        Ok(Some(values))
    }

    /// Asks the flag's own parser, without the rest of the command line.
    fn check(&self, value: &str) -> Result<(), String> {
        if self.kind() == Kind::Boolean {
            return boolean(value).map(drop).ok_or_else(|| "must be true or false".to_owned());
        }
        let Some(long) = self.arg.get_long() else {
            unreachable!("only flags are settings");
        };
        let alone = Command::new("check")
            .no_binary_name(true)
            .disable_help_flag(true)
            .arg(self.arg.clone().required(false).global(false).help(""));
        let Err(error) = alone.try_get_matches_from([format!("--{long}={value}")]) else {
            return Ok(());
        };
        if let Some(reason) = std::error::Error::source(&error) {
            return Err(reason.to_string());
        }
        let possible: Vec<_> = self.arg.get_possible_values();
        let names: Vec<_> = possible.iter().map(clap::builder::PossibleValue::get_name).collect();
        Err(match names.as_slice() {
            [] => "must not be empty".to_owned(),
            names => format!("must be one of {}", names.join(", ")),
        })
    }
}

/// Every flag of every command, those for all commands once for each.
fn settings(command: &Command) -> Vec<Setting> {
    let global: Vec<&Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).collect();
    let of = |sub: &Command, arg: &Arg| {
        let (name, key) = (sub.get_name(), arg.get_id().as_str());
        let setting = Setting {
            command: name.to_owned(),
            table: table(name, key),
            variable: variable(arg)?,
            arg: arg.clone(),
        };
        (key != "config").then_some(setting)
    };
    let subcommands = command.get_subcommands();
    subcommands
        .flat_map(|sub| {
            let own = sub.get_arguments().filter_map(move |arg| of(sub, arg));
            own.chain(global.clone().into_iter().filter_map(move |arg| of(sub, arg)))
        })
        .collect()
}

/// The environment variable of a flag; arguments by position have none, nor have hidden flags.
fn variable(arg: &Arg) -> Option<String> {
    let long = arg.get_long().filter(|long| !matches!(*long, "help" | "version"))?;
    let name = long.to_ascii_uppercase().replace('-', "_");
    (!arg.is_hide_set()).then(|| format!("ROLLCALL_{name}"))
}

/// The table of the file that holds a command's key.
fn table(command: &str, key: &str) -> String {
    let has = |keys: Vec<String>| keys.iter().any(|known| known == key);
    // What is done to the folder of a server finds it where the server does.
    let of_server = match command {
        "serve" => true,
        "readmit" | "restore" => matches!(key, "id" | "data_dir"),
        _ => false,
    };
    if of_server || has(keys_of::<GlobalArgs>()) || has(keys_of::<Tunables>()) {
        String::new()
    } else if has(keys_of::<ClientArgs>()) {
        "client".to_owned()
    } else {
        command.to_owned()
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn config_path(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<OsString>, Failure> {
    let flag = matches.get_raw("config").and_then(|mut values| values.next());
    let variable = environment("ROLLCALL_CONFIG").filter(|path| !path.is_empty());
    match flag.map(OsStr::to_owned).or(variable) {
        Some(path) if path.is_empty() => Err(Failure::Usage("--config names no file".to_owned())),
        path => Ok(path),
    }
}

/// The groups of a command of which only one member may be set, such as where the state lives.
fn exclusive_groups(command: &Command, name: &str) -> Vec<Vec<String>> {
    let sub = command.get_subcommands().find(|sub| sub.get_name() == name);
    let groups = sub.into_iter().flat_map(Command::get_groups);
    groups
        .filter(|group| !(*group).clone().is_multiple())
        .map(|group| group.get_args().map(ToString::to_string).collect())
        .collect()
}

/// What the command line says, and what lower sources say about the rest.
struct Decided {
    groups: Vec<Vec<String>>,
    given: Vec<String>,
    defaults: Vec<(String, Vec<String>)>,
}

impl Decided {
    fn new(groups: Vec<Vec<String>>, matches: &ArgMatches) -> Self {
        let is_given =
            |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let given = matches.ids().filter(is_given).map(ToString::to_string).collect();
        Self { groups, given, defaults: Vec::new() }
    }

    /// Takes from the next lower source what no higher one has decided.
    fn admit(&mut self, layer: Vec<(String, Vec<String>)>, source: &str) -> Result<(), Failure> {
        let layer: Vec<_> = layer.into_iter().filter(|(key, _)| self.is_open(key)).collect();
        for group in &self.groups {
            let set: Vec<&str> = layer
                .iter()
                .filter(|(key, values)| group.contains(key) && is_set(values))
                .map(|(key, _)| key.as_str())
                .collect();
            if let [one, other, ..] = set.as_slice() {
                return Err(Failure::Usage(format!(
                    "{source} sets both {one} and {other}, which exclude each other"
                )));
            }
        }
        self.defaults.extend(layer);
        Ok(())
    }

    /// Whether neither the key nor one that excludes it has a value.
    fn is_open(&self, key: &str) -> bool {
        let decided = |key: &str| self.defaults.iter().find(|(known, _)| known == key);
        let rival = |rival: &String| {
            self.given.contains(rival) || decided(rival).is_some_and(|(_, values)| is_set(values))
        };
        let mut groups = self.groups.iter().filter(|group| group.iter().any(|one| one == key));
        let given = self.given.iter().any(|known| known == key);
        !given && decided(key).is_none() && !groups.any(|group| group.iter().any(rival))
    }
}

/// A flag said to be off excludes nothing.
fn is_set(values: &[String]) -> bool {
    values != ["false"]
}

fn with_defaults(command: Command, name: &str, defaults: Vec<(String, Vec<String>)>) -> Command {
    let global: Vec<String> = keys_of::<GlobalArgs>();
    defaults.into_iter().fold(command, |command, (key, values)| {
        let set = |arg: Arg| arg.default_values(values);
        if global.contains(&key) {
            command.mut_arg(key, set)
        } else {
            command.mut_subcommand(name, |sub| sub.mut_arg(key, set))
        }
    })
}

/// The known name nearest to a misspelt one, if any is near.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.replace('-', "_").to_ascii_lowercase();
    known
        .map(|candidate| (strsim::jaro_winkler(&name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Below this, of 1, two names have nothing to do with each other.
const LIKENESS_MIN: f64 = 0.8;
