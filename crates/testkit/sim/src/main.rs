//! `duo-sim`: the simulated GitLab, Bedrock and OpenAI-compatible servers as one program.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use duo_sim::{bedrock, gitlab, openai};

/// Simulated neighbours of Duo Operator; for tests and the demo only.
#[derive(Parser)]
#[command(name = "duo-sim")]
struct Cli {
    #[command(subcommand)]
    server: Server,
}

#[derive(Subcommand)]
enum Server {
    /// A GitLab: GraphQL, REST, OIDC keys, health check, users who ask.
    Gitlab(Box<gitlab::Config>),
    /// An AWS Bedrock runtime.
    Bedrock(Box<bedrock::Config>),
    /// An OpenAI-compatible (and Azure) model server.
    Openai(Box<openai::Config>),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let server = Cli::parse().server;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(server))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "duo-sim ends");
            ExitCode::FAILURE
        }
    }
}

/// Runs the server until SIGTERM or SIGINT.
async fn serve(server: Server) -> io::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let handle: Box<dyn std::any::Any> = match server {
        Server::Gitlab(config) => {
            let handle = gitlab::start(*config).await?;
            tracing::info!(addr = %handle.addr(), url = handle.url(), "GitLab listens");
            Box::new(handle)
        }
        Server::Bedrock(config) => {
            let handle = bedrock::start(*config).await?;
            tracing::info!(addr = %handle.addr(), "Bedrock listens");
            Box::new(handle)
        }
        Server::Openai(config) => {
            let handle = openai::start(*config).await?;
            tracing::info!(addr = %handle.addr(), "the model server listens");
            Box::new(handle)
        }
    };
    tokio::select! {
        _ = terminated.recv() => {}
        signal = tokio::signal::ctrl_c() => signal?,
    }
    drop(handle);
    Ok(())
}
