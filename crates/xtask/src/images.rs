//! The OCI archives in `target/images`.

use duo_testkit::assets::{Assets, Size};
use duo_testkit::images::{self, Image, Sources};

use crate::console::{Console, Failure};
use crate::products;

/// Builds the named images, or all of them.
pub(crate) fn build(names: &[String], tag: &str, console: &Console) -> Result<Vec<Image>, Failure> {
    let names: Vec<&str> = match names {
        [] => images::ALL.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let kubernetes = match names.contains(&"coredns") {
        true => Assets::locate(Size::Node)?.folder().to_owned(),
        false => Default::default(),
    };
    let sources = Sources { products: products::folder(), kubernetes };
    let folder = products::target().join("images");
    names
        .into_iter()
        .map(|name| {
            let image = images::build(name, tag, &sources, &folder)?;
            let short = image.digest.get(..19).unwrap_or(&image.digest);
            console.step(&format!("image {} {short}: {}", image.reference, image.archive.display()));
            Ok(image)
        })
        .collect()
}
