//! Parses compose.yml and the files that it mounts, and checks that they fit the binaries.

mod native;

use orch_sdk::task::Connection;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn compose() -> Yaml {
    let text = std::fs::read_to_string(root().join("compose.yml")).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

fn names(of: &Yaml) -> Vec<&str> {
    of.as_hash().map(|hash| hash.keys().filter_map(Yaml::as_str).collect()).unwrap_or_default()
}

fn texts(of: &Yaml) -> Vec<&str> {
    of.as_vec().map(|list| list.iter().filter_map(Yaml::as_str).collect()).unwrap_or_default()
}

/// Services that exit after they have created something.
const MAKERS: [&str; 2] = ["passwords", "kafka-topics"];
/// Folder in which containers find their passwords.
const PASSWORDS: &str = "/run/passwords/";

/// Runs `deploy/passwords.sh` for a folder, with some passwords set.
fn make_passwords(folder: &Path, chosen: &[(&str, &str)]) -> Output {
    let mut script = Command::new("bash");
    script.arg(root().join("deploy/passwords.sh")).arg(folder);
    script.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(chosen.iter().copied()).output().unwrap()
}

/// Returns the files that the script creates, by path.
fn passwords(folder: &Path, chosen: &[(&str, &str)]) -> BTreeMap<String, String> {
    let made = make_passwords(folder, chosen);
    assert!(made.status.success(), "{made:?}");
    let files = |of: PathBuf| std::fs::read_dir(of).unwrap().map(|file| file.unwrap().path());
    let made = files(folder.to_owned()).flat_map(files);
    let named = |file: PathBuf| {
        let name = file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(file).unwrap())
    };
    made.map(named).collect()
}

/// Parses the variables of `orch.env`, which a shell reads.
fn variables(text: &str) -> BTreeMap<String, String> {
    let value = |quoted: &str| quoted.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap().to_owned();
    text.lines().map(|line| line.split_once('=').unwrap()).map(|(name, quoted)| (name.into(), value(quoted))).collect()
}

/// The connections of `orch.env`, by id.
fn connections(text: &str) -> BTreeMap<String, String> {
    let all = variables(text).into_iter();
    all.filter_map(|(name, uri)| Some((name.strip_prefix("ORCH_CONN_")?.to_lowercase(), uri))).collect()
}

#[test]
fn it_brings_the_servers_and_only_this_machine_reaches_them() {
    let compose = compose();
    let services = &compose["services"];
    assert_eq!(
        names(services),
        [
            "passwords",
            "orch",
            "logging-server",
            "serving",
            "kafka",
            "kafka-topics",
            "postgres",
            "mysql",
            "minio",
            "metabase"
        ]
    );
    let ports = names(services).into_iter().flat_map(|name| texts(&services[name]["ports"]));
    let published: Vec<&str> = ports.map(|port| port.strip_prefix("127.0.0.1:").expect(port)).collect();
    let expected = [
        "8080:8080",
        "9998:9998",
        "8000:8000",
        "9092:29092",
        "5432:5432",
        "3306:3306",
        "9000:9000",
        "9001:9001",
        "3000:3000",
    ];
    assert_eq!(published, expected);
    for name in names(services) {
        let service = &services[name];
        assert!(
            service["image"].as_str().is_some_and(|image| image == "orch" || image.contains(':')),
            "{name}: a version"
        );
        let named = texts(&service["volumes"]).into_iter().map(|volume| volume.split_once(':').unwrap().0);
        for volume in named {
            let exists = if volume.starts_with('.') {
                root().join(volume).exists()
            } else {
                names(&compose["volumes"]).contains(&volume)
            };
            assert!(exists, "{name} mounts `{volume}`");
        }
        // Dependencies on services that exit wait for their exit; all other dependencies wait for the health check.
        let has_check = !service["healthcheck"].is_badvalue();
        assert_eq!(has_check, !MAKERS.contains(&name), "{name}");
        for other in names(&service["depends_on"]) {
            assert!(names(services).contains(&other), "{name} waits for `{other}`");
            let condition = if MAKERS.contains(&other) { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(service["depends_on"][other]["condition"].as_str(), Some(condition), "{name}: {other}");
        }
    }
    let build = &services["orch"]["build"];
    assert!(root().join(build["dockerfile"].as_str().unwrap()).exists());
}

#[test]
fn its_passwords_are_made_once() {
    let [one, other, third] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let made = passwords(one.path(), &[]);
    for (name, text) in &made {
        assert!(text.len() >= 32, "{name} is short");
    }
    assert_eq!(passwords(one.path(), &[("MYSQL_PASSWORD", "later")]), made, "what is there stays");
    // Passwords from the `.env` of a stack that already has data.
    let chosen = passwords(other.path(), &[("MYSQL_PASSWORD", "chosen-1")]);
    assert_eq!(chosen["mysql/MYSQL_PASSWORD"], "chosen-1");
    assert_eq!(connections(&chosen["orch/orch.env"])["retail_mysql"], "mysql://cdc:chosen-1@mysql:3306/retaildb");
    assert!(chosen.iter().all(|(name, text)| made[name] != *text), "each stack has its own");
    let refused = make_passwords(third.path(), &[("MINIO_PASSWORD", "a@b")]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.starts_with("MINIO_PASSWORD has other characters"), "{said}");
    assert!(said.contains("\nhint: "), "{said}");
}

/// Tasks run as the user `orch` of the container, which must not read these files.
#[test]
fn only_root_reads_the_secrets_of_orch() {
    let folder = tempfile::tempdir().unwrap();
    let of_orch = folder.path().join("orch");
    std::fs::create_dir(&of_orch).unwrap();
    for (file, text) in [("ORCH_ADMIN_PASSWORD", "an older password"), ("orch.toml", ""), ("connections.env", "")] {
        std::fs::write(of_orch.join(file), text).unwrap();
    }
    let made = passwords(folder.path(), &[]);
    let names: Vec<&str> = made.keys().filter_map(|file| file.strip_prefix("orch/")).collect();
    assert_eq!(names, ["ORCH_ADMIN_PASSWORD", "ORCH_SECRET_KEY", "orch.env"], "files of older versions are gone");
    for name in names {
        let mode = of_orch.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400, "{name}");
    }
    let compose = compose();
    let services = &compose["services"];
    for service in names_of_mounting(services, "passwords-orch") {
        assert_eq!(services[service]["user"].as_str(), Some("root"), "{service}");
        assert_eq!(texts(&services[service]["entrypoint"])[0], "as-orch", "{service}");
    }
    // Tasks log in with these connections.
    let settings = variables(&made["orch/orch.env"]);
    let owner = settings["ORCH_DATABASE_URL"].split(['/', '@']).nth(2).unwrap();
    assert!(owner.starts_with("orch:"), "{owner}");
    for (id, uri) in connections(&made["orch/orch.env"]) {
        assert!(!uri.contains(owner), "{id} is the owner of the metadata");
    }
    assert!(connections(&made["orch/orch.env"])["lake"].contains(&*format!("://{}:", settings["ORCH_TASK_ROLE"])));

    let programs = tempfile::tempdir().unwrap();
    let setpriv = programs.path().join("setpriv");
    std::fs::write(&setpriv, "#!/bin/sh\necho \"$@\"\nenv\n").unwrap();
    std::fs::set_permissions(&setpriv, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = Command::new("sh");
    script.arg(root().join("deploy/as-orch.sh")).args(["orch", "dags", "list"]).env_clear();
    script.env("PATH", format!("{}:/usr/bin:/bin", programs.path().display()));
    let output = script.env("SECRETS_FILE", of_orch.join("orch.env")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let started = String::from_utf8(output.stdout).unwrap();
    assert!(
        started.starts_with("--reuid orch --regid orch --init-groups --no-new-privs -- orch dags list\n"),
        "{started}"
    );
    for (name, value) in &settings {
        assert!(started.lines().any(|line| line == format!("{name}={value}")), "{name}: {started}");
    }
    assert!(!started.contains("SECRETS_FILE"), "{started}");
}

/// Returns the services of our image that mount a volume.
fn names_of_mounting<'a>(services: &'a Yaml, volume: &str) -> Vec<&'a str> {
    let mounts = |name: &&str| {
        let is_ours = services[*name]["image"].as_str() == Some("orch");
        is_ours && texts(&services[*name]["volumes"]).iter().any(|mounted| mounted.split(':').next() == Some(volume))
    };
    let found: Vec<&str> = names(services).into_iter().filter(mounts).collect();
    assert_eq!(found, ["orch", "logging-server", "serving"]);
    found
}

#[test]
fn no_secret_stands_in_it() {
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == ".env"));
    let (compose, folder) = (compose(), tempfile::tempdir().unwrap());
    let made = passwords(folder.path(), &[]);
    for service in names(&compose["services"]) {
        let environment = &compose["services"][service]["environment"];
        for name in names(environment) {
            let value = environment[name].as_str().unwrap();
            let is_secret = ["PASS", "SECRET"].iter().any(|word| name.contains(word));
            if service == "passwords" {
                assert!(is_secret && made.keys().any(|file| file.ends_with(&format!("/{name}"))), "{name}");
                assert_eq!(value, format!("${{{name}:-}}"));
                continue;
            }
            let has_password = value.contains("${") || value.contains("://") && value.contains('@');
            assert!(!has_password, "{service}: {name}");
            let file = value.strip_prefix(PASSWORDS);
            assert!(file.is_some() || !is_secret, "{service}: {name}");
            if let Some(file) = file {
                assert!(made.contains_key(file), "{service}: {file}");
                let service = &compose["services"][service];
                let of = file.split('/').next().unwrap();
                let volumes = texts(&service["volumes"]);
                assert!(volumes.contains(&&*format!("passwords-{of}:{PASSWORDS}{of}:ro")), "{name}");
                let others = volumes.iter().filter(|volume| volume.starts_with("passwords-")).count();
                assert_eq!(others, 1, "{name}: it reads no password of another server");
                assert!(!service["depends_on"]["passwords"].is_badvalue(), "{name}");
            }
        }
    }
}

#[test]
fn its_connections_are_those_that_the_pipelines_ask_for() {
    let (compose, folder) = (compose(), tempfile::tempdir().unwrap());
    let services = &compose["services"];
    let environment = &services["orch"]["environment"];
    let mut found = connections(&passwords(folder.path(), &[])["orch/orch.env"]);
    for name in names(environment) {
        let Some(id) = name.strip_prefix("ORCH_CONN_") else { continue };
        let known = found.insert(id.to_lowercase(), environment[name].as_str().unwrap().into());
        assert_eq!(known, None, "{name}");
    }
    let mut ids = Vec::new();
    for (id, uri) in found {
        let connection = Connection::from_uri(&id, &uri).unwrap();
        let host = connection.host.clone().unwrap();
        assert!(names(services).contains(&host.as_str()), "{id} leads to `{host}`");
        let inside = format!(":{}", connection.port.unwrap());
        let service = &services[host.as_str()];
        let listens = service["environment"]["KAFKA_LISTENERS"].as_str().unwrap_or_default();
        let mut ports = texts(&service["ports"]).into_iter().chain(listens.split(','));
        assert!(ports.any(|port| port.ends_with(&inside)), "{id}: {inside}");
        ids.push(id);
    }
    ids.sort();
    let mut expected = [&orch_dags::common::connections::IDS[..], &["logging_server", "topics"]].concat();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

/// Parses the listeners of a broker by name: `INSIDE` → `kafka:9092`.
fn listeners(of: &str) -> BTreeMap<&str, &str> {
    of.split(',').map(|listener| listener.split_once("://").unwrap()).collect()
}

#[test]
fn its_broker_tells_containers_and_this_machine_where_they_reach_it() {
    let compose = compose();
    let kafka = &compose["services"]["kafka"];
    let said = |name: &str| kafka["environment"][name].as_str().unwrap_or_else(|| panic!("{name}"));
    let (listens, tells) = (listeners(said("KAFKA_LISTENERS")), listeners(said("KAFKA_ADVERTISED_LISTENERS")));
    assert_eq!((listens["INSIDE"], tells["INSIDE"]), (":9092", "kafka:9092"));
    let (there, here) = (listens["OUTSIDE"], tells["OUTSIDE"].strip_prefix("localhost:").unwrap());
    assert_eq!(texts(&kafka["ports"]), [format!("127.0.0.1:{here}{there}")]);
    // Only the broker itself connects to the controller.
    assert_eq!(tells.len(), 2);
    assert_eq!(format!("1@localhost{}", listens["CONTROLLER"]), said("KAFKA_CONTROLLER_QUORUM_VOTERS"));
    let protocols = said("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP");
    let named: Vec<&str> = protocols.split(',').filter_map(|one| one.strip_suffix(":PLAINTEXT")).collect();
    assert!(listens.keys().all(|name| named.contains(name)), "{protocols}");
    assert_eq!(texts(&kafka["volumes"]), [format!("kafka:{}", said("KAFKA_LOG_DIRS"))]);
    // The broker has the same version as in the tests of streams.
    let tested = include_str!("../../../tests/support/src/kafka/pom.xml");
    let version = kafka["image"].as_str().unwrap().strip_prefix("apache/kafka:").unwrap();
    assert!(tested.contains(&format!("<artifactId>kafka_2.13</artifactId><version>{version}</version>")), "{version}");
    // Services that produce to the broker use its advertised address.
    for service in ["orch", "logging-server"] {
        let topics = &compose["services"][service]["environment"]["ORCH_CONN_TOPICS"];
        assert_eq!(topics.as_str(), Some(format!("kafka://{}", tells["INSIDE"]).as_str()), "{service}");
    }
}

#[test]
fn the_topics_of_all_streams_are_made_before_orch_starts() {
    use orch_dags::users;
    use orch_dags::weather::{events as weather_events, logging, openweather};
    let compose = compose();
    let services = &compose["services"];
    let script = texts(&services["kafka-topics"]["command"])[0];
    let topics = script.split_once("for topic in ").unwrap().1.split_once(';').unwrap().0;
    let made: BTreeMap<&str, &str> = topics.split(' ').map(|topic| topic.split_once(':').unwrap()).collect();
    let declared = [logging::TOPIC, openweather::TOPIC, users::TOPIC, weather_events::TOPIC];
    assert_eq!(made.keys().copied().collect::<Vec<_>>(), {
        let mut sorted = declared.to_vec();
        sorted.sort_unstable();
        sorted
    });
    for (topic, partitions) in [
        (logging::TOPIC, logging::PARTITIONS),
        (users::TOPIC, users::PARTITIONS),
        (weather_events::TOPIC, weather_events::PARTITIONS),
    ] {
        assert_eq!(made[topic], partitions.to_string(), "{topic}");
    }
    for service in ["orch", "logging-server"] {
        let condition = services[service]["depends_on"]["kafka-topics"]["condition"].as_str();
        assert_eq!(condition, Some("service_completed_successfully"), "{service}");
    }
    assert_eq!(services["kafka-topics"]["image"], services["kafka"]["image"]);
}

#[test]
fn its_logging_server_is_a_command_of_the_bundle() {
    let compose = compose();
    let server = &compose["services"]["logging-server"];
    assert_eq!(texts(&server["entrypoint"]), ["as-orch", "orch-pipelines"]);
    let command = texts(&server["command"]);
    let home = tempfile::tempdir().unwrap();
    let helped = Command::new(env!("CARGO_BIN_EXE_orch-pipelines"))
        .args([command[0], "--help"])
        .env("HOME", home.path())
        .output()
        .unwrap();
    let helped = String::from_utf8(helped.stdout).unwrap();
    for flag in command.iter().filter(|word| word.starts_with("--")) {
        assert!(helped.contains(flag), "{flag}: {helped}");
    }
    assert!(helped.contains("Default port: 9998"), "{helped}");
}

#[test]
fn its_mysql_makes_the_tables_that_are_read() {
    let sql = std::fs::read_to_string(root().join("deploy/mysql/1-tables.sql")).unwrap();
    for table in &orch_dags::retail::tables::RAW {
        let start = sql.find(&format!("create table {} (", table.name)).unwrap_or_else(|| panic!("{}", table.name));
        let body = &sql[start..start + sql[start..].find(");\n").unwrap()];
        for column in table.columns {
            assert!(body.contains(&format!("\n    {} ", column.name)), "{}.{}", table.name, column.name);
        }
        assert!(crate::data::folder().join(format!("{}.csv.gz", table.name)).exists());
    }
    for script in ["deploy/passwords.sh", "deploy/mysql/2-rows.sh", "deploy/postgres/databases.sh"] {
        let checked = Command::new("bash").arg("-n").arg(root().join(script)).output().unwrap();
        assert!(checked.status.success(), "{script}: {checked:?}");
    }
}

#[test]
fn its_image_is_both_binaries_and_nothing_of_the_tests() {
    let dockerfile = std::fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let rust = include_str!("../../../Cargo.toml").lines().find_map(|line| line.strip_prefix("rust-version = "));
    let version = rust.unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "the toolchain is that of Cargo.toml");
    let instructions = dockerfile.replace("\\\n", " ");
    let (build, image) = instructions.rsplit_once("\nFROM ").unwrap();
    let of = |stage: &str, kind: &str| -> Vec<String> {
        let lines = stage.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    // The complete contents of the image beyond its base: the build stage, with the sources and build artifacts, is not
    // part of it.
    let copied = [
        "--from=build /usr/local/bin/orch /usr/local/bin/orch-pipelines /usr/local/bin/",
        "deploy/as-orch.sh /usr/local/bin/as-orch",
    ];
    assert_eq!(of(image, "COPY "), copied);
    let (prepares, builds) = (of(image, "RUN ").join("\n"), of(build, "RUN ").join("\n"));
    let packages = prepares.split_once("--no-install-recommends ").unwrap().1.split_once(" && ").unwrap().0;
    assert_eq!(packages, "ca-certificates");
    assert!(prepares.contains("rm -rf /var/lib/apt/lists/*"), "{prepares}");
    assert!(!prepares.contains('\n') && !builds.contains('\n'), "{prepares}\n{builds}");
    for step in [
        "cargo build --release --locked -p orch-control -p orch-dags &&",
        "cp target/release/orch target/release/orch-pipelines /usr/local/bin/ &&",
        "strip /usr/local/bin/orch /usr/local/bin/orch-pipelines",
    ] {
        assert!(builds.contains(step), "{step}: {builds}");
    }
    for stage in [build, image] {
        assert!(of(stage, "ADD ").is_empty(), "{stage}");
    }
    assert_eq!(of(image, "USER "), ["orch"]);
    let left_out = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    for line in ["target/", ".env", "**/tests/data/"] {
        assert!(left_out.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn binaries_that_make_the_image_too_large_are_not_packed() {
    let (binaries, packages) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["orch", "orch-pipelines"] {
        std::fs::File::create(binaries.path().join(name)).unwrap().set_len(110_000_000).unwrap();
    }
    let strip = binaries.path().join("strip");
    std::fs::write(&strip, "#!/bin/sh\nexec cp --sparse=always \"$3\" \"$2\"\n").unwrap();
    std::fs::set_permissions(&strip, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binaries.path().display());
    let mut dist = Command::new(root().join("scripts/dist.sh"));
    let refused = dist.args([binaries.path(), packages.path()]).env("PATH", path).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("the image is 225 MB larger than its base, and may be 220 MB"), "{said}");
    assert_eq!(std::fs::read_dir(packages.path()).unwrap().count(), 0);
}
