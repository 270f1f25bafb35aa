//! TLS in front of a server, with a certificate that nobody vouches for: what browsers refuse.
//!
//! Knows nothing of what it carries.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};

/// What speaks TLS on a port of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Tls {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Tls {
    /// Begins to carry connections to this address.
    pub async fn before(target: SocketAddr) -> Self {
        let acceptor = acceptor();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(carry(acceptor.clone(), stream, target));
            }
        });
        Self { address, task }
    }

    /// Its address and port, as in a URL.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor() -> TlsAcceptor {
    let names = [Ipv4Addr::LOCALHOST.to_string()];
    let CertifiedKey { cert, key_pair } =
        generate_simple_self_signed(names).expect("an address is a valid name");
    let key = PrivatePkcs8KeyDer::from(key_pair.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .expect("the key was made for the certificate");
    TlsAcceptor::from(Arc::new(config))
}

/// Carries one connection to its end. Who does not like the certificate is not carried.
async fn carry(acceptor: TlsAcceptor, stream: TcpStream, target: SocketAddr) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let Ok(mut target) = TcpStream::connect(target).await else { return };
    // How either side takes its end is not ours to say.
    let _ = copy_bidirectional(&mut stream, &mut target).await;
}
