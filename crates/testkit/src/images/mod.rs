//! OCI images without a container engine: a recipe of `deploy/images/` and files of this machine in, an archive out.
//! It does not know who runs the images, and builds no product binary itself.

mod elf;
mod oci;
mod recipe;
mod tar;

use std::path::{Path, PathBuf};
use std::process::Command;

use recipe::{Recipe, Source};

/// Everything `xtask images` makes; the first two are what a node itself needs.
pub const ALL: [&str; 5] = ["pause", "coredns", "duo-operator", "duo-gateway", "duo-sim"];

/// The tag used unless another is asked for.
pub const DEFAULT_TAG: &str = "dev";

/// `USER:GROUP` of every image; the number Kubernetes' `runAsNonRoot` can check.
const USER: &str = "65532:65532";

/// Where the files of the recipes are found on this machine.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Folder of the release binaries, `target/release`.
    pub products: PathBuf,
    /// Folder of the pinned Kubernetes binaries (with `coredns`).
    pub kubernetes: PathBuf,
}

/// One archive that was written.
#[derive(Debug, Clone)]
pub struct Image {
    /// `docker.io/local/NAME:TAG`, as pods name it.
    pub reference: String,
    /// The manifest's `sha256:…`; the same input gives the same digest.
    pub digest: String,
    /// The OCI archive.
    pub archive: PathBuf,
}

/// Why an image was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe is missing or wrong.
    #[error("image recipe {0}")]
    Recipe(String),
    /// A file that goes into the image is missing or unreadable.
    #[error("image {image} needs {path}: {source}; {cure}", path = path.display())]
    Missing {
        /// The image's name.
        image: String,
        /// The file.
        path: PathBuf,
        /// What reading it said.
        source: std::io::Error,
        /// What to run.
        cure: &'static str,
    },
    /// A program of the image would not start on an empty root.
    #[error(
        "image {image}: {path} is not a static x86-64 program, and the image has no loader; build it with `make build`",
        path = path.display()
    )]
    NotStatic {
        /// The image's name.
        image: String,
        /// The program.
        path: PathBuf,
    },
    /// The C compiler failed or is missing.
    #[error("compile {path}: {why}; install gcc and libc6-dev", path = path.display())]
    Compile {
        /// The C file.
        path: PathBuf,
        /// The compiler's words.
        why: String,
    },
    /// The archive was not written.
    #[error("write {path}: {source}", path = path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// `docker.io/local/NAME:TAG`.
pub fn reference(name: &str, tag: &str) -> String {
    format!("docker.io/local/{name}:{tag}")
}

/// Builds the image `name` (one of [`ALL`]) into `folder/NAME.tar`.
pub fn build(name: &str, tag: &str, sources: &Sources, folder: &Path) -> Result<Image, Error> {
    let recipes = recipes_folder();
    let recipe = recipe::read(&recipes, name).map_err(Error::Recipe)?;
    let mut tree = tar::Tree::default();
    tree.folder("tmp", 0o1777);
    tree.file("etc/passwd", 0o644, b"root:x:0:0::/:/\nnonroot:x:65532:65532::/tmp:/\n".to_vec());
    tree.file("etc/group", 0o644, b"root:x:0:\nnonroot:x:65532:\n".to_vec());
    tree.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n".to_vec());
    for file in &recipe.files {
        let mode =
            file.permissions().ok_or_else(|| Error::Recipe(format!("{name}: mode of {} is not octal", file.path)))?;
        tree.file(&file.path, mode, content(&recipe, &file.source, sources, &recipes)?);
    }
    let reference = reference(name, tag);
    let too_long = || Error::Recipe(format!("{name}: a path has more than 100 bytes"));
    let config = oci::Config {
        reference: &reference,
        entrypoint: &recipe.entrypoint,
        env: &recipe.env,
        ports: &recipe.ports,
        user: USER,
    };
    let (archive, digest) = oci::archive(tree.archive().ok_or_else(too_long)?, &config).ok_or_else(too_long)?;
    let path = folder.join(format!("{name}.tar"));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, archive))
        .map_err(|source| Error::Write { path: path.clone(), source })?;
    Ok(Image { reference, digest, archive: path })
}

fn content(recipe: &Recipe, source: &Source, sources: &Sources, recipes: &Path) -> Result<Vec<u8>, Error> {
    let read = |path: &Path, cure| {
        std::fs::read(path).map_err(|source| Error::Missing {
            image: recipe.name.clone(),
            path: path.to_owned(),
            source,
            cure,
        })
    };
    let program = |path: &Path, cure| {
        let content = read(path, cure)?;
        if elf::is_static(&content) != Some(true) {
            return Err(Error::NotStatic { image: recipe.name.clone(), path: path.to_owned() });
        }
        Ok(content)
    };
    match source {
        Source::Text(text) => Ok(text.clone().into_bytes()),
        Source::Host(path) => read(path, "apt-get install -y ca-certificates"),
        Source::Product(name) => program(&sources.products.join(name), "run `make build`"),
        Source::Kubernetes(name) => program(&sources.kubernetes.join(name), "build the Kubernetes binaries first"),
        Source::Compile(file) => compile(&recipes.join(file)),
    }
}

/// Compiles one C file statically; the compiler's temporary folder is gone afterwards.
fn compile(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::Compile { path: path.to_owned(), why };
    let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let program = folder.path().join("program");
    let output = Command::new("cc")
        // build ids and paths would differ from machine to machine
        .args(["-static", "-Os", "-s", "-Wl,--build-id=none", "-o"])
        .arg(&program)
        .arg(path)
        .output()
        .map_err(|error| failed(format!("cc: {error}")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    std::fs::read(&program).map_err(|error| failed(error.to_string()))
}

/// `deploy/images` of this checkout: the harness runs from the sources it was built from.
fn recipes_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/images")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(folder: &Path) -> Sources {
        Sources { products: folder.to_owned(), kubernetes: folder.to_owned() }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let first = build("pause", "dev", &sources(folder.path()), folder.path()).unwrap();
        let bytes = std::fs::read(&first.archive).unwrap();
        let second = build("pause", "dev", &sources(folder.path()), &folder.path().join("again")).unwrap();
        assert_eq!(first.digest, second.digest);
        assert!(bytes == std::fs::read(&second.archive).unwrap());
    }

    #[test]
    fn a_dynamically_linked_product_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/true", folder.path().join("duo-sim")).unwrap();
        let error = build("duo-sim", "dev", &sources(folder.path()), folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a static") && error.contains("make build"), "{error}");
    }

    #[test]
    fn a_missing_binary_names_the_command_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = build("duo-gateway", "dev", &sources(folder.path()), folder.path()).unwrap_err().to_string();
        assert!(error.contains("duo-gateway") && error.contains("make build"), "{error}");
    }
}
