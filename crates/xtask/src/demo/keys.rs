//! How long a new key takes from its Secret to the model server, on a real node: API server, operator, kubelet, gateway.
//!
//! A developer asks again and again while the demo's AWS key changes; the simulated Bedrock, which accepts two, says by
//! which each call was signed. Nobody may get an error.

use std::time::{Duration, Instant};

use duo_testkit::node::{NodeCluster, Options};
use serde_json::{Value, json};

use super::{GITLAB, ask};
use crate::console::{Console, Failure};

/// The Service of the simulated Bedrock, through the API server.
const BEDROCK: &str = "/api/v1/namespaces/aws/services/bedrock:http/proxy/_sim/journal";
/// What `deploy/demo/bedrock.yaml` accepts.
const KEYS: [(&str, &str); 2] =
    [("AKIADEMODEMODEMODEMO", "demo-secret-access-key"), ("AKIADEMOROTATEDDEMOS", "demo-rotated-access-key")];
/// So many calls one after the other under the new key alone: all pods have it.
const SETTLED: usize = 25;
const PATIENCE: Duration = Duration::from_secs(180);

/// What one change took.
struct Round {
    first_new: Duration,
    last_old: Duration,
    asked: usize,
}

/// Changes the key `rounds` times in a cluster that `demo up` brought up.
pub(crate) fn run(options: &Options, rounds: usize, console: &Console) -> Result<(), Failure> {
    let cluster = NodeCluster::up(options, &console.progress())?;
    let outcome = measure(&cluster, rounds, console);
    cluster.keep();
    outcome
}

fn measure(cluster: &NodeCluster, rounds: usize, console: &Console) -> Result<(), Failure> {
    let mut all = Vec::new();
    // an even number of changes leaves the key that `demo up` declares
    for number in 1..=rounds.next_multiple_of(2) {
        let round = one(cluster, KEYS[number % 2])?;
        console.step(&format!(
            "new key {number}: first call signed with it after {:.1} s, last one with the former after {:.1} s; {} \
             questions, each answered",
            round.first_new.as_secs_f64(),
            round.last_old.as_secs_f64(),
            round.asked
        ));
        all.push(round);
    }
    let mut taken: Vec<f64> = all.iter().map(|round| round.first_new.max(round.last_old).as_secs_f64()).collect();
    taken.sort_unstable_by(f64::total_cmp);
    let (median, most) = (taken[taken.len() / 2], taken[taken.len() - 1]);
    let asked: usize = all.iter().map(|round| round.asked).sum();
    console.plain(&format!(
        "\n| figure | unit | operator and gateway |\n|---|---|---:|\n\
         | a changed key: from its Secret until no pod uses the former, median of {} | s | {median:.1} |\n\
         | the same, most | s | {most:.1} |\n| users' calls meanwhile; failed | | {asked}; 0 |",
        taken.len()
    ));
    Ok(())
}

fn one(cluster: &NodeCluster, (id, secret): (&str, &str)) -> Result<Round, Failure> {
    signed_by(cluster)?;
    let patch = json!({"stringData": {"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret}}).to_string();
    cluster.kubectl(["-n", "gitlab-duo", "patch", "secret", "aws-bedrock", "--type=merge", "-p", &patch])?;
    let changed = Instant::now();
    let mut round = Round { first_new: Duration::ZERO, last_old: Duration::ZERO, asked: 0 };
    let mut settled = 0;
    while settled < SETTLED {
        if changed.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(Failure::Other(format!("{seconds} s after its Secret changed the former key is still in use")));
        }
        let body = json!({"file_name": "gcd.rb", "above": "def gcd(a, b)\n", "below": "\nend\n"});
        let outcome = ask::ask(cluster, GITLAB, "code_completion", &body)?;
        let at = changed.elapsed();
        if outcome["ok"] != true {
            return Err(Failure::Other(format!("while a key changed a user got no completion: {outcome:#}")));
        }
        round.asked += 1;
        for key in signed_by(cluster)? {
            if key == id {
                settled += 1;
                if round.first_new.is_zero() {
                    round.first_new = at;
                }
            } else {
                settled = 0;
                round.last_old = at;
            }
        }
    }
    Ok(round)
}

/// Access key ids of the calls since the last question about them.
fn signed_by(cluster: &NodeCluster) -> Result<Vec<String>, Failure> {
    let calls = cluster.kubectl(["get", "--raw", BEDROCK])?;
    cluster.kubectl(["delete", "--raw", BEDROCK])?;
    let calls: Vec<Value> = serde_json::from_str(&calls).map_err(Failure::when("the simulated Bedrock's journal"))?;
    let id = |call: &Value| call["credential"]["access_key_id"].as_str().map(ToOwned::to_owned);
    Ok(calls.iter().filter_map(id).collect())
}
