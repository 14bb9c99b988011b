//! `orch web`.

use crate::cx::Cx;
use crate::web_role;
use orch_binary::config::{ArchiveFlags, BundleFlags, SecretFlags, WebFlags};
use orch_binary::failure::{Failure, Outcome};
use orch_binary::parts::{self, Parts, Signals};
use orch_binary::roles;
use sqlx::PgConnection;
use tokio::net::TcpListener;

/// Run a web server: API and UI
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "api-server",
    after_help = "Examples:\n  \
    orch web --database-url postgres://orch@db/orch --host 0.0.0.0 --port 8443 --ssl-cert orch.pem --ssl-key orch.key\n  \
    orch web --database-url postgres://orch@db/orch --host 0.0.0.0 --trusted-proxies 10.0.0.0/8 --base-path /orch"
)]
pub(crate) struct Web {
    #[command(flatten)]
    web: WebFlags,
    #[command(flatten)]
    secrets: SecretFlags,
    #[command(flatten)]
    archive: ArchiveFlags,
    #[command(flatten)]
    bundle: BundleFlags,
}

impl Web {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_with(|given| {
            self.web.add_to(given);
            self.secrets.add_to(given);
            self.archive.add_to(given);
            self.bundle.add_to(given);
        })?;
        roles::start_process(&config)?;
        let listener = web_role::listen(&config)?;
        parts::block_on(async {
            let (url, mut db) = roles::connect_checked(&config, "orch web").await?;
            let admin = async |db: &mut PgConnection| web_role::admin(db, &config).await;
            if let Some(password) = roles::repeat_if_lost(&config, (&url, "orch web"), &mut db, admin).await? {
                eprintln!("user admin, password {} (told once)", password.reveal());
            }
            drop(db);
            // Handle signals only from here on: while the process waits for its database, the first signal ends it.
            let mut signals = Signals::hear()?;
            let address = listener.local_addr().map_err(Failure::io("cannot listen"))?;
            let listener = TcpListener::from_std(listener).map_err(Failure::io("cannot listen"))?;
            let mut parts = Parts::new(&url, "orch web", roles::WEB_CONNECTIONS)?;
            web_role::add(&mut parts, web_role::web(&config, &url)?, listener);
            eprintln!("orch web is up: {}", web_role::address_for_people(&config, address));
            parts.run_until_ended(&mut signals).await
        })
    }
}
