//! The macro that generates the fields of `Config`, the flags of the commands and the table of settings from one
//! declaration.

use super::value::Text;

pub struct Field {
    /// Heading of the group that the setting belongs to.
    pub group: &'static str,
    /// Key in the file. The flag is the key with `-` instead of `_`.
    pub key: &'static str,
    pub env: &'static str,
    pub default: &'static str,
    pub about: &'static str,
    /// True if the value must not be passed to other processes or printed.
    pub is_secret: bool,
    /// Returns what the value must be, as in "is not …", or `None` if the text is a valid value.
    pub(super) expected: fn(&str) -> Option<String>,
}

impl Field {
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    pub(super) fn help(about: &'static str, env: &str, default: &str) -> String {
        let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
        format!("{}{default} [env: {env}]", about.trim())
    }
}

/// The settings of the command line, by key.
#[derive(Debug, Clone, Default)]
pub struct CommandLineSettings {
    pub flags: Vec<(&'static str, String)>,
    /// Defaults of a command that override those of the declaration.
    pub defaults: Vec<(&'static str, &'static str)>,
    /// Value of `--config`.
    pub file: Option<std::path::PathBuf>,
    /// Default connections of the binary. They and the next three fields are not set on the command line.
    pub connections: orch_sdk::task::DefaultConnections,
    pub lake: orch_store::lake_view::LakeSource,
    pub archives: orch_store::archive::ArchiveSource,
    pub bundle_name: Option<&'static str>,
}

pub(super) const fn form<T: Text>() -> &'static str {
    T::FORM
}

pub(super) const fn is_secret<T: Text>() -> bool {
    T::IS_SECRET
}

pub(super) fn expected<T: Text>(text: &str) -> Option<String> {
    T::parse(text).err()
}

macro_rules! config {
    ($( #[doc = $group_about:literal] $group:ident { $(
        #[doc = $about:literal]
        $(#[clap($($clap:tt)+)])?
        $name:ident: $type:ty = $default:literal, $env:literal;
    )+ } )+) => {
        /// All settings, validated.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($( #[doc = $about] pub $name: $type, )+)+
            pub sources: std::collections::BTreeMap<&'static str, LoadedFrom>,
            pub connections: orch_sdk::task::DefaultConnections,
            pub lake: orch_store::lake_view::LakeSource,
            /// Source that opens archives in object stores instead of folders.
            pub archives: orch_store::archive::ArchiveSource,
            /// File name of the bundle binary to search in the folder of this binary.
            pub bundle_name: Option<&'static str>,
        }

        $(
            #[doc = $group_about]
            #[derive(Debug, Clone, Default, clap::Args)]
            #[group(skip)]
            pub struct $group { $(
                #[arg(long, value_name = flags::form::<$type>(), help = Field::help($about, $env, $default))]
                $(#[arg($($clap)+)])?
                pub $name: Option<String>,
            )+ }

            impl $group {
                pub fn add_to(&self, given: &mut CommandLineSettings) {
                    $( given.flags.extend(self.$name.clone().map(|text| (stringify!($name), text))); )+
                }
            }
        )+

        impl Config {
            pub const FIELDS: &'static [Field] = &[ $($(
                Field {
                    group: $group_about,
                    key: stringify!($name),
                    env: $env,
                    default: $default,
                    about: $about,
                    is_secret: flags::is_secret::<$type>(),
                    expected: flags::expected::<$type>,
                },
            )+)+ ];

            /// Reads flags, environment and file. Reports all problems together.
            pub fn load(given: &CommandLineSettings) -> Result<Config, Failure> {
                let mut reader = source::Reader::new(given, Self::FIELDS);
                $($( let $name: Option<$type> = reader.read(stringify!($name)); )+)+
                let mut problems = reader.problems;
                match ($($($name,)+)+) {
                    ($($(Some($name),)+)+) => {
                        let (connections, lake) = (given.connections.clone(), given.lake.clone());
                        let (archives, bundle_name) = (given.archives.clone(), given.bundle_name);
                        let sources = reader.sources;
                        let config =
                            Config { $($($name,)+)+ sources, connections, lake, archives, bundle_name };
                        problems.extend(config.problems());
                        if problems.is_empty() { Ok(config) } else { Err(Failure::all(problems)) }
                    }
                    _ => Err(Failure::all(problems)),
                }
            }

            /// Returns keys and values in the order of the declaration, with secrets masked.
            pub fn masked_settings(&self) -> Vec<(&'static Field, String)> {
                let values = [$($( self.$name.show(), )+)+];
                Self::FIELDS.iter().zip(values).collect()
            }
        }
    };
}
pub(super) use config;
