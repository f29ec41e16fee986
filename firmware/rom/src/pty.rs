//! A board behind a pseudoterminal, for tools that open a serial port.
//!
//! A pseudoterminal has a baud rate but no control lines: setting DTR or RTS
//! fails. Boards are put on it in download mode, as by hand.

use crate::Board;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// How often time goes by on a board that nobody talks to.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// A serial port with a board. Dropping it pulls the cable.
#[derive(Debug)]
pub struct Pty {
    path: PathBuf,
    board: Arc<Mutex<Board>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pty {
    /// Connects a board.
    ///
    /// # Errors
    /// If the system gives no pseudoterminal.
    pub fn connect(board: Board) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = rustix::pty::ptsname(&ours, Vec::new())?;
        let path = PathBuf::from(name.into_string().map_err(io::Error::other)?);
        // Kept open: a client that closes its side does not hang up ours.
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        let mut settings = tcgetattr(&theirs)?;
        settings.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &settings)?;

        let board = Arc::new(Mutex::new(board));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (board, stop) = (board.clone(), stop.clone());
            move || {
                // Errors are a pulled cable too.
                let _ = carry(&mut File::from(ours), &theirs, &board, &stop);
            }
        });
        Ok(Self { path, board, stop, thread: Some(thread) })
    }

    /// Returns the path of the serial port.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the board.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }

    /// Pulls the cable, and returns the board.
    ///
    /// # Panics
    /// Never: nothing else has the board then.
    #[must_use]
    pub fn disconnect(self) -> Board {
        let board = self.board.clone();
        drop(self);
        let board = Arc::into_inner(board).expect("the thread has ended");
        let mut board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        board.set_host_baud(None);
        board
    }

    /// Returns whether the cable is pulled.
    pub fn is_unplugged(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported already.
            let _ = thread.join();
        }
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries bytes until told to stop, or until the cable is pulled.
fn carry(
    ours: &mut File,
    theirs: &OwnedFd,
    board: &Mutex<Board>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::from_borrowed_fd(ours.as_fd(), PollFlags::IN)];
        let ready = poll(&mut fds, Some(&TICK))?;
        let count = if ready > 0 { ours.read(&mut buffer)? } else { 0 };
        let output = {
            let mut board = lock(board);
            board.advance(last.elapsed());
            last = Instant::now();
            if count > 0 {
                board.set_host_baud(Some(tcgetattr(theirs)?.output_speed()));
                board.receive(&buffer[..count]);
            }
            if board.is_unplugged() {
                return Ok(());
            }
            board.take_output()
        };
        ours.write_all(&output)?;
    }
    Ok(())
}
