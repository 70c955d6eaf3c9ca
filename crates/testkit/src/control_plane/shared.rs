//! One control plane for all tests of a test program; each test takes a namespace of its own in it.

use tokio::sync::OnceCell;

use super::{ControlPlane, ControlPlaneOptions};
use crate::error::{Error, Result};

static SHARED: OnceCell<(ControlPlane, String)> = OnceCell::const_new();

impl ControlPlane {
    /// The control plane that all tests of this program share, started by the first of them with `preload` (see
    /// [`ControlPlaneOptions::preload`]). All must give the same `preload`. It ends with the program.
    ///
    /// Tests keep apart by [`ControlPlane::namespace`] and a fake node for just that namespace. Tests that stop the API
    /// server, or change what is cluster-wide, start a control plane of their own.
    pub async fn shared(preload: &str) -> Result<&'static Self> {
        let (control_plane, preloaded) = SHARED
            .get_or_try_init(|| async {
                let options = ControlPlaneOptions { preload: preload.to_owned(), ..ControlPlaneOptions::default() };
                Ok::<_, Error>((Self::start_with(options).await?, preload.to_owned()))
            })
            .await?;
        if preloaded != preload {
            return Err(Error::Invalid {
                what: "ControlPlane::shared".into(),
                why: "it runs already with another preload; give the same one in all tests of a program".into(),
            });
        }
        Ok(control_plane)
    }
}
