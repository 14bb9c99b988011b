//! The macro that makes of one declaration the fields of `Config`, the flags of the commands and the table of fields.

use super::value::Text;

/// A field as it was declared.
pub struct Field {
    /// What the fields around it are about.
    pub group: &'static str,
    /// In the file; the flag has `-` for `_`.
    pub key: &'static str,
    pub env: &'static str,
    pub default: &'static str,
    pub about: &'static str,
    /// Nothing but this process may know it.
    pub is_secret: bool,
    /// Returns what the value has to be, as in "is not …", or `None` if the text is a valid value.
    pub(super) expected: fn(&str) -> Option<String>,
}

impl Field {
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// In `--help`.
    pub(super) fn help(about: &'static str, env: &str, default: &str) -> String {
        let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
        format!("{}{default} [env: {env}]", about.trim())
    }
}

/// What the command line says, by key.
#[derive(Debug, Clone, Default)]
pub struct CommandLineSettings {
    pub flags: Vec<(&'static str, String)>,
    /// Defaults of a command that differ from those of the declaration.
    pub defaults: Vec<(&'static str, &'static str)>,
    /// `--config`
    pub file: Option<std::path::PathBuf>,
    /// Not said on the command line but brought by the binary.
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
        /// All values, checked.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($( #[doc = $about] pub $name: $type, )+)+
            /// Where each value comes from.
            pub sources: std::collections::BTreeMap<&'static str, LoadedFrom>,
            /// Those that the binary brings.
            pub connections: orch_sdk::task::DefaultConnections,
            /// The one that the binary brings.
            pub lake: orch_store::lake_view::LakeSource,
            /// What opens archives that are no folders.
            pub archives: orch_store::archive::ArchiveSource,
            /// The bundle that is looked for in the folder of the binary.
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

            /// Reads flags, environment and file. All that is wrong is told at once.
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

            /// Keys and values in the order of the declaration, secrets masked.
            pub fn masked_settings(&self) -> Vec<(&'static Field, String)> {
                let values = [$($( self.$name.show(), )+)+];
                Self::FIELDS.iter().zip(values).collect()
            }
        }
    };
}
pub(super) use config;
