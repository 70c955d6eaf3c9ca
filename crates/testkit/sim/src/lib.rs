//! Simulated neighbours of Duo Operator: a GitLab, an AWS Bedrock and an OpenAI-compatible model server.
//!
//! Each server is built from its protocol's description and knows nothing of the operator or the gateway it is
//! called by, so that the two sides do not merely agree with each other. For tests and the demo only.
//!
//! Every server's module has a `Config` (also the command line's arguments) and
//! `start(Config) -> io::Result<Handle>`; a `Handle` says where the server listens and stops it when dropped.

pub mod answers;
pub mod bedrock;
pub mod gitlab;
pub mod hosts;
pub mod openai;
pub mod upstream;
