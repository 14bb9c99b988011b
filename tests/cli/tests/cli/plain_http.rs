//! Web servers that would send passwords over plain HTTP.

use crate::binary::{CommandOutput, command};

#[test]
fn plain_http_beyond_this_machine_is_refused_with_the_ways_out() {
    let home = tempfile::tempdir().unwrap();
    for command_name in ["web", "standalone"] {
        let arguments = [command_name, "--host", "0.0.0.0", "--port", "0"];
        let refused = CommandOutput::of(&command(home.path()).args(arguments).output().unwrap()).refused();
        assert!(refused.starts_with("error: plain http at `0.0.0.0` would send passwords"), "{refused}");
        for way in ["--ssl-cert", "--trusted-proxies", "--insecure-http"] {
            assert!(refused.contains(way), "{refused}");
        }
    }
    let half =
        CommandOutput::of(&command(home.path()).args(["web", "--ssl-cert", "a.pem"]).output().unwrap()).refused();
    assert!(half.contains("`ssl_cert` from --ssl-cert is set, but `ssl_key` is not"), "{half}");
}
