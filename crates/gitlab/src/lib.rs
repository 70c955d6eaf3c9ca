//! duo-gitlab
