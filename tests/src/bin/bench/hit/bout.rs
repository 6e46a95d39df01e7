//! Servers that take turns on one thread, and the CPU time that each handshake takes them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use postern_tests::Result;
use postern_tests::client::tls::{close, connect};
use rustix::time::{ClockId, clock_gettime};
use rustls::ClientConfig;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Acceptor, shake_hands};
use crate::fleet::host;

/// Handshakes with one side before it is another one's turn: about ten milliseconds, in which a noisy machine moves little.
pub(super) const TURN: usize = 40;

/// Rounds, in which each side has one turn, for one sample. What is told is the middle of the rounds: a sum would be that of
/// the few which something else on the machine has disturbed. Each order of turns is there as often.
pub(super) const ROUNDS: usize = 13 * ORDERS.len();

/// Clients at the same time.
const CLIENTS: usize = 4;

/// Each side is as often before each other one as after it.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

/// A server that is measured.
pub(super) struct Side {
    listener: TcpListener,
    acceptor: Acceptor,
}

/// Servers that are compared, all on one thread, and the clients that they are compared with.
pub(super) struct Bout {
    client: Arc<ClientConfig>,
    addresses: [SocketAddr; 3],
    /// How many names each has.
    names: [usize; 3],
    /// The next name that each is asked for.
    next: [usize; 3],
    turns: mpsc::Sender<Turn>,
}

/// A turn that is asked for, and who waits for the CPU time that it has taken.
struct Turn {
    side: usize,
    done: oneshot::Sender<Result<Duration>>,
}

impl Bout {
    pub(super) fn new(client: Arc<ClientConfig>, sides: [Side; 3], names: usize) -> Result<Self> {
        let [first, second, third] = sides.each_ref().map(|side| side.listener.local_addr());
        let (turns, asked) = mpsc::channel(1);
        thread::spawn(move || serve(sides, asked));
        // Of those that share certificates, none finds what the other one has just used.
        let (names, next) = ([1, names, names], [0, 0, names / 2]);
        Ok(Self { client, addresses: [first?, second?, third?], names, next, turns })
    }

    /// CPU seconds per handshake of each side, in each of [`ROUNDS`] rounds. They take turns in every order there is.
    pub(super) async fn rounds(&mut self) -> Result<Vec<[f64; 3]>> {
        let mut all = Vec::with_capacity(ROUNDS);
        for order in ORDERS.iter().cycle().take(ROUNDS) {
            let mut round = [0.0; 3];
            for &side in order {
                round[side] = self.turn(side).await?;
            }
            all.push(round);
        }
        Ok(all)
    }

    async fn turn(&mut self, side: usize) -> Result<f64> {
        let (done, used) = oneshot::channel();
        self.turns.send(Turn { side, done }).await?;
        let (first, names) = (self.next[side], self.names[side]);
        self.next[side] = (first + TURN) % names;
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (config, address) = (Arc::clone(&self.client), self.addresses[side]);
            clients.spawn(async move {
                for number in (first + client..first + TURN).step_by(CLIENTS) {
                    let (stream, _) = connect(&config, address, Some(&host(number % names))).await?;
                    close(stream).await;
                }
                Result::<()>::Ok(())
            });
        }
        let clients = async {
            while let Some(done) = clients.join_next().await {
                done??;
            }
            Result::<()>::Ok(())
        };
        // What has failed on the server's side says more than what a client makes of it.
        let (clients, used) = tokio::join!(clients, used);
        let used = used??;
        clients?;
        Ok(used.as_secs_f64() / TURN as f64)
    }
}

impl Side {
    pub(super) fn new(acceptor: Acceptor) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, acceptor })
    }
}

/// Serves turns as they are asked for, on this thread alone, and tells the CPU time that each has taken.
fn serve(sides: [Side; 3], mut asked: mpsc::Receiver<Turn>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listen = |side: Side| Ok((tokio::net::TcpListener::from_std(side.listener)?, side.acceptor));
        let servers = sides.into_iter().map(listen).collect::<Result<Vec<_>>>()?;
        while let Some(Turn { side, done }) = asked.recv().await {
            let before = thread_cpu();
            let (listener, acceptor) = &servers[side];
            let result = accept_turn(listener, acceptor).await;
            let used = thread_cpu().saturating_sub(before);
            // Nobody waits any more for a turn that has failed on the other side.
            let _ = done.send(result.map(|()| used));
        }
        Ok(())
    })
}

/// Accepts as many connections as one turn has.
async fn accept_turn(listener: &tokio::net::TcpListener, acceptor: &Acceptor) -> Result<()> {
    let (under_way, mut served) = (Arc::new(Semaphore::new(CLIENTS)), JoinSet::new());
    for _ in 0..TURN {
        let (tcp, peer) = listener.accept().await?;
        let place = Arc::clone(&under_way).acquire_owned().await?;
        let acceptor = acceptor.clone();
        served.spawn(async move {
            let _place = place;
            shake_hands(acceptor, tcp, peer).await
        });
        while let Some(done) = served.try_join_next() {
            done??;
        }
    }
    while let Some(done) = served.join_next().await {
        done??;
    }
    Ok(())
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
