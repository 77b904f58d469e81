//! A chain that answers JSON-RPC over HTTP on loopback.
//!
//! The least of HTTP/1.1 that clients need: requests with a known length, one after the other on connections that stay
//! open. A server's crates would be built for these tests alone.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use alloy::{primitives::U256, signers::local::PrivateKeySigner};
use smartnodes_evm::{
    chain::{Chain, ChainConfig},
    rpc::{self, DevMethods, RpcConfig},
};

/// When transactions enter a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// After `evm_mine`.
    WhenAsked,
    /// As soon as they come: clients like `cast send` wait for their receipts.
    AtOnce,
}

/// A server that ends with the test.
pub struct Host {
    url: String,
}

/// The n-th key: 32 times the same byte.
pub fn key(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[n; 32]).expect("a small number is a valid key")
}

impl Host {
    /// Starts one with some ETH for the keys 1 to 9.
    pub fn start(mining: Mining) -> Self {
        let ether = U256::from(10).pow(U256::from(21));
        let config = ChainConfig {
            balances: (1..10).map(|n| (key(n).address(), ether)).collect(),
            ..ChainConfig::default()
        };
        let chain = Chain::new(config).expect("a valid configuration");
        let chain = Arc::new(Mutex::new(chain));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let chain = Arc::clone(&chain);
                // A client that goes away in the middle is its own affair.
                thread::spawn(move || serve(&stream, &chain, mining));
            }
        });
        Self { url }
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Answers the requests of one connection until the client closes it.
fn serve(mut stream: &TcpStream, chain: &Mutex<Chain>, mining: Mining) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(body) = read_request(&mut reader)? {
        let answer = answer(chain, mining, &body);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(&[head.as_bytes(), &answer].concat())?;
    }
    Ok(())
}

/// The body of the next request; nothing when the client is done.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let length = length.filter(|length| *length <= RpcConfig::default().body_bytes_max);
    let length = length.ok_or_else(|| io::Error::other("no or too large a Content-Length"))?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

fn answer(chain: &Mutex<Chain>, mining: Mining, body: &[u8]) -> Vec<u8> {
    let config = RpcConfig {
        dev_methods: DevMethods::Enabled,
        ..RpcConfig::default()
    };
    let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = rpc::handle(&mut chain, &config, body);
    if mining == Mining::AtOnce && chain.pending_len() > 0 {
        chain.mine_next().expect("time goes on");
    }
    answer
}
