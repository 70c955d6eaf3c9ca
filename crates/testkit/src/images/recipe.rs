//! The recipes of `deploy/images/*.yaml`: what is in an image and where it comes from on this machine.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One image. `deploy/images/README.md` explains the keys to the people who write them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    pub(super) name: String,
    pub(super) entrypoint: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<String>,
    #[serde(default)]
    pub(super) ports: Vec<String>,
    pub(super) files: Vec<File>,
}

/// One file of an image.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) path: String,
    /// Octal digits.
    pub(super) mode: Option<String>,
    #[serde(flatten)]
    pub(super) source: Source,
}

/// Where a file's content comes from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    Product(String),
    Kubernetes(String),
    Compile(PathBuf),
    Host(PathBuf),
    Text(String),
}

impl File {
    /// Permission bits; `None` when `mode` is not octal.
    pub(super) fn permissions(&self) -> Option<u32> {
        match (&self.mode, &self.source) {
            (Some(mode), _) => u32::from_str_radix(mode, 8).ok(),
            (None, Source::Product(_) | Source::Kubernetes(_) | Source::Compile(_)) => Some(0o755),
            (None, Source::Host(_) | Source::Text(_)) => Some(0o644),
        }
    }
}

/// Reads `FOLDER/NAME.yaml`.
pub(super) fn read(folder: &Path, name: &str) -> Result<Recipe, String> {
    let path = folder.join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let recipe: Recipe = serde_yaml_ng::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if recipe.name != name {
        return Err(format!("{}: its name is {:?}; rename the file or the image", path.display(), recipe.name));
    }
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_of_the_repository_is_readable_and_starts_a_file_it_contains() {
        let folder = super::super::recipes_folder();
        let mut seen = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let recipe = read(&folder, path.file_stem().unwrap().to_str().unwrap()).unwrap();
                assert!(recipe.files.iter().any(|file| file.path == recipe.entrypoint[0]), "{}", recipe.name);
                seen += 1;
            }
        }
        assert_eq!(seen, super::super::ALL.len());
    }

    #[test]
    fn a_misspelt_source_is_refused() {
        let text = "{name: x, entrypoint: [/x], files: [{path: /x, prodcut: x}]}";
        assert!(serde_yaml_ng::from_str::<Recipe>(text).is_err());
    }
}
