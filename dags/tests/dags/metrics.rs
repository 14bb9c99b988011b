//! Metrics that the servers of the bundle export, parsed by Prometheus' own parser.

use crate::http::ask;
use crate::world::World;
use orch_test_support::guide::guide;
use orch_test_support::read_metrics;

const TOKEN: &str = "for prometheus";
/// Servers, each with a path to request.
const SERVERS: [(&str, &str); 3] = [("serving", "/health"), ("catalog", "/v1/config"), ("logging-server", "/health")];

#[tokio::test(flavor = "multi_thread")]
async fn each_server_of_the_bundle_tells_prometheus_how_it_is() {
    let mut world = World::new().await;
    world.set("ORCH_METRICS_TOKEN", TOKEN);
    let monitoring = guide("monitoring");
    for (server, path) in SERVERS {
        let (_, address) = world.start_server(&[server, "--port", "0", "--metrics-address", "127.0.0.1:0"]);
        let said = world.said();
        let url = said.rsplit("metrics are at ").next().unwrap().split_whitespace().next().unwrap();
        let metrics = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics")).expect(url);
        let status = ask(&address, path, &[]).status;
        let told = ask(metrics, "/metrics", &[&format!("Authorization: Bearer {TOKEN}")]).body;
        for line in [
            format!("orch_server_requests_total{{status=\"{}xx\"}} 1", status / 100),
            "orch_server_requests_running 0".into(),
            "orch_database_reachable 1".into(),
            format!("orch_build_info{{version=\"{}\",role=\"{server}\"}} 1", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(told.contains(&line), "{server}: {line}: {told}");
        }
        assert_eq!(ask(metrics, "/metrics", &[]).status, 401);
        assert_eq!(ask(metrics, "/healthz", &[]).status, 200);
        for name in read_metrics(url, ("ORCH_METRICS_TOKEN", TOKEN)).unwrap() {
            assert!(monitoring.contains(&format!("`{name}`")), "{name} is not in docs/guides/monitoring.md");
        }
    }
    world.set("ORCH_METRICS_TOKEN", "");
    let refused = world.run(&["serving", "--port", "0", "--metrics-address", "0.0.0.0:0"]);
    assert!(refused.code == 2 && refused.err.contains("hint: set `ORCH_METRICS_TOKEN`"), "{refused:?}");
}
