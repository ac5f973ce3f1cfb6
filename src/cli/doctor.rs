//! `sluicegate doctor`: `check`, and then the brokers as the gateway would meet them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;

use glommio::LocalExecutorBuilder;

use crate::cli::{check, print, refuse};
use crate::config::{Cluster, Config, HostPort};
use crate::probe;

/// Checks configuration, policies, machine and brokers. Exit codes as of `check`; 1, too, where a broker is not reached or
/// a login may do what it should not.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    let checked = check::run(path);
    if checked != ExitCode::SUCCESS {
        return checked;
    }
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return refuse(2, &error),
    };
    let executor = match LocalExecutorBuilder::default().make() {
        Ok(executor) => executor,
        Err(error) => return refuse(1, &error),
    };
    let mut is_well = true;
    for (name, cluster) in &config.clusters {
        is_well &= executor.run(examine(name, cluster));
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries each login at each bootstrap server; whether all is well.
async fn examine(name: &str, cluster: &Cluster) -> bool {
    let mut is_well = true;
    for server in &cluster.bootstrap_servers {
        let HostPort { host, port } = server;
        let address = match resolve(server) {
            Ok(address) => address,
            Err(error) => {
                print(&format_args!("cluster {name}: {host}:{port}: {error}"));
                is_well = false;
                continue;
            }
        };
        for credential in &cluster.credentials {
            let login = credential.login.name();
            match probe::login(address, &credential.login).await {
                Ok(rights) if rights.is_empty() => {
                    print(&format_args!("cluster {name}: {host}:{port} as `{login}`: ok"));
                }
                Ok(rights) => {
                    is_well = false;
                    for right in rights {
                        print(&format_args!(
                            "cluster {name}: {host}:{port} lets `{login}` do what it should not: {right}"
                        ));
                    }
                }
                Err(error) => {
                    is_well = false;
                    print(&format_args!("cluster {name}: {host}:{port} as `{login}`: {error}"));
                }
            }
        }
    }
    is_well
}

fn resolve(server: &HostPort) -> Result<SocketAddr, String> {
    let mut found = (server.host.as_str(), server.port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot resolve it: {error}"))?;
    found.next().ok_or_else(|| "it has no address".to_owned())
}
