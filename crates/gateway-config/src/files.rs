//! Which files of the mounted folder a model names.

use crate::{CertificateFiles, Connection, Fallback, Model, Replica};

impl Model {
    /// The names of all files that this model's places have of their own.
    pub fn files_mut(&mut self) -> Vec<&mut String> {
        let mut files: Vec<&mut String> = self.api_key_file.iter_mut().collect();
        files.extend(of(&mut self.connection));
        for Replica { api_key_file, connection, endpoint: _, weight: _ } in &mut self.replicas {
            files.extend(api_key_file);
            files.extend(of(connection));
        }
        for fallback in &mut self.fallbacks {
            let Fallback { api_key_file, connection, identifier: _, family: _, endpoint: _, price: _ } = fallback;
            files.extend(api_key_file);
            files.extend(of(connection));
        }
        files
    }
}

/// Taken apart without a rest, so that a new file cannot be forgotten.
fn of(connection: &mut Connection) -> Vec<&mut String> {
    let Connection {
        client_certificate,
        ca_bundle_file,
        region: _,
        endpoint: _,
        assume_role: _,
        api_version: _,
        completion_api: _,
        proxy_url: _,
    } = connection;
    let mut files: Vec<&mut String> = ca_bundle_file.iter_mut().collect();
    if let Some(CertificateFiles { certificate_file, key_file }) = client_certificate {
        files.extend([certificate_file, key_file]);
    }
    files
}

#[cfg(test)]
mod tests {
    use crate::Model;

    #[test]
    fn every_file_of_every_place_is_named() {
        let place = |name: &str| {
            format!(
                "apiKeyFile: {name}.key, connection: {{caBundleFile: {name}_ca.crt, clientCertificate: {{certificateFile: \
                 {name}_tls.crt, keyFile: {name}_tls.key}}}}"
            )
        };
        let text = format!(
            "{{name: m, family: mistral, identifier: custom_openai/m, endpoint: 'http://a', {}, replicas: [{{endpoint: \
             'http://b', {}}}], fallbacks: [{{identifier: custom_openai/n, endpoint: 'http://c', {}}}]}}",
            place("own"),
            place("mirror"),
            place("fallback")
        );
        let mut model: Model = serde_yaml_ng::from_str(&text).unwrap();
        let mut names: Vec<String> = model.files_mut().into_iter().map(|file| file.clone()).collect();
        names.sort();
        let mut all: Vec<String> = ["own", "mirror", "fallback"]
            .iter()
            .flat_map(|at| [".key", "_ca.crt", "_tls.crt", "_tls.key"].map(|end| format!("{at}{end}")))
            .collect();
        all.sort();
        assert_eq!(names, all);
    }
}
