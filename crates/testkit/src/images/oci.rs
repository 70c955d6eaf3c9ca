//! One image as an OCI archive: a tar with `oci-layout`, `index.json` and the blobs, as `ctr images import` reads it.
//! It knows nothing of recipes or of where files come from.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::tar::Tree;

/// What an image's configuration says besides its files.
pub(super) struct Config<'a> {
    /// Full reference, `docker.io/local/NAME:TAG`.
    pub(super) reference: &'a str,
    pub(super) entrypoint: &'a [String],
    /// `NAME=value`.
    pub(super) env: &'a [String],
    /// `5052/tcp`.
    pub(super) ports: &'a [String],
    /// `65532:65532`.
    pub(super) user: &'a str,
}

/// The archive and the manifest's digest (`sha256:…`). The single layer is not compressed: it never crosses a network.
pub(super) fn archive(layer: Vec<u8>, config: &Config<'_>) -> Option<(Vec<u8>, String)> {
    let layer_digest = digest(&layer);
    let exposed: serde_json::Map<_, _> = config.ports.iter().map(|port| (port.clone(), json!({}))).collect();
    let description = bytes(&json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": config.user,
            "Env": config.env,
            "Entrypoint": config.entrypoint,
            "WorkingDir": "/",
            "ExposedPorts": exposed,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "xtask images"}],
    }));
    let manifest = bytes(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &description),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", &layer)],
    }));
    let mut described = blob("application/vnd.oci.image.manifest.v1+json", &manifest);
    described["annotations"] = json!({
        // containerd takes the whole name from the first, skopeo and podman take the second
        "io.containerd.image.name": config.reference,
        "org.opencontainers.image.ref.name": config.reference,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described],
    });
    let manifest_digest = digest(&manifest);
    let mut tree = Tree::default();
    tree.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    tree.file("index.json", 0o644, bytes(&index));
    tree.file(&format!("blobs/sha256/{layer_digest}"), 0o644, layer);
    tree.file(&format!("blobs/sha256/{}", digest(&description)), 0o644, description);
    tree.file(&format!("blobs/sha256/{manifest_digest}"), 0o644, manifest);
    Some((tree.archive()?, format!("sha256:{manifest_digest}")))
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn blob(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", digest(content)), "size": content.len()})
}
