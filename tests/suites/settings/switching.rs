//! TLS of a gateway that is in use, switched on and off under users who ask all the time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use duo_e2e::{Options, World};
use duo_sim::gitlab::Outcome;
use duo_testkit::pki::CertificateAuthority;
use serde_json::json;

use crate::scene::{address, complete, curl, data, declare, on, vllm, world};

/// Users who ask until they are told to stop.
#[derive(Default)]
struct Users {
    stop: AtomicBool,
    served: AtomicUsize,
    lost: Mutex<Vec<Outcome>>,
}

impl Users {
    async fn ask(&self, world: &World) {
        while !self.stop.load(Ordering::Relaxed) {
            let outcome = complete(world).await;
            if outcome.ok {
                self.served.fetch_add(1, Ordering::Relaxed);
            } else {
                self.lost.lock().expect("nobody panics").push(outcome);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Three users ask for as long as something else takes, and none of them may be left without an answer.
    async fn during(world: &World, change: impl Future<Output = ()>) {
        let users = Self::default();
        let all = async {
            change.await;
            users.stop.store(true, Ordering::Relaxed);
        };
        futures::join!(all, users.ask(world), users.ask(world), users.ask(world));
        let lost = users.lost.into_inner().expect("nobody panics");
        assert!(lost.is_empty(), "{} lost: {:#?}\n{}", lost.len(), lost.first(), world.log_tail());
        assert!(users.served.load(Ordering::Relaxed) > 50);
    }
}

/// Waits until the pod takes what is named (plain HTTP, TLS), and nothing else.
async fn takes(world: &World, wanted: (bool, bool)) {
    let host = format!("duo.{}.svc", world.namespace);
    let started = std::time::Instant::now();
    loop {
        let resolve = format!("{host}:5052:{}", address(world));
        let plain = curl(&["--resolve", &resolve], &format!("http://{host}:5052/monitoring/healthz")).await;
        let tls =
            curl(&["--insecure", "--resolve", &resolve], &format!("https://{host}:5052/monitoring/healthz")).await;
        if (plain.is_ok(), tls.is_ok()) == wanted {
            return;
        }
        assert!(started.elapsed() < 3 * duo_e2e::wait::LIMIT, "{plain:?} {tls:?}\n{}", world.log_tail());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn url_is(world: &World, scheme: &str) {
    let url = format!("{scheme}://duo.{}.svc:5052", world.namespace);
    world.eventually("GitLab follows", || world.gitlab.state().settings.ai_gateway_url.as_deref() == Some(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_switched_on_and_off_under_users_who_lose_nothing() {
    let authority = CertificateAuthority::new("company").expect("a CA");
    let options = Options { gitlab_trusts: Some(authority.cert_pem().to_owned()), ..Options::default() };
    let (world, server) = (world(options, &json!({"url": null, "drainPeriod": "1s"})).await, vllm().await);
    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    let host = format!("duo.{}.svc", world.namespace);
    let identity = authority.server(&host, &[&host]).expect("a certificate");
    data(&world, "Secret", "duo-tls", &[("tls.crt", &identity.cert_pem), ("tls.key", &identity.key_pem)]).await;
    takes(&world, (true, false)).await;

    Users::during(&world, async {
        let on = json!({"spec": {"tls": {"secretRef": {"name": "duo-tls"}}}});
        world.patch("AIGateway", "duo", on).await.expect("the change is admitted");
        url_is(&world, "https").await;
        takes(&world, (true, true)).await;
        let accepted = world.get("AIGateway", "duo").await;
        assert!(duo_e2e::wait::condition(&accepted, "ConfigAccepted").2.contains("plain HTTP"), "{accepted:#}");
        takes(&world, (false, true)).await;
    })
    .await;
    world.until_ready("AIGateway", "duo").await;

    Users::during(&world, async {
        world.patch("AIGateway", "duo", json!({"spec": {"tls": null}})).await.expect("the change is admitted");
        url_is(&world, "http").await;
        takes(&world, (true, true)).await;
        takes(&world, (true, false)).await;
    })
    .await;
    world.until_ready("AIGateway", "duo").await;
    world.no_secret_is_told(&[]).await;
}
