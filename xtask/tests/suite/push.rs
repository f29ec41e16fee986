//! `push` to devices on loopback, which answer with the code of real ones.

use crate::support::{Project, text};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    thread::JoinHandle,
};
use tokio::sync::oneshot;
use towline_app::rest::Token;
use towline_descriptor::Chip;
use towline_host::{Settings, TokioClock};
use towline_sim::{
    Device, Net, Scheme, SelfTest,
    sample::{Table, app_image},
};

const TOKEN: &str = "correct horse battery staple";

/// Restarts take 0.15 s instead of 3.
const SPEED: u32 = 20;

/// A device that runs `lamp` 1.0.0.
struct Board {
    _dir: tempfile::TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Board {
    fn new(self_test: SelfTest) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let table = Table { slots: 2, slot_size: 0x6_0000, factory: false };
        let running = image("lamp", "1.0.0");
        let bytes = table.to_bytes();
        let parts = [(0x8000, &bytes[..]), (table.offset(0), &running)];
        let mut device = Device::provision(&dir.path().join("flash.bin"), 1 << 20, parts).unwrap();
        device.self_test = self_test;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let mut net = Net::new(Scheme::Https, None).unwrap();
            let token = Some(Token::new(TOKEN).unwrap());
            let mut settings = Settings { token, ..Settings::default() };
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let clock = TokioClock::hurried(SPEED);
                let life = towline_host::run(
                    &mut device,
                    &mut net,
                    &mut settings,
                    clock,
                    &listener,
                    |_| {},
                );
                tokio::select! {
                    _ = stopped => {}
                    end = life => panic!("{:?}", end.err()),
                }
            });
        });
        Self { _dir: dir, address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the device panicked");
        }
    }
}

fn image(project: &str, version: &str) -> Vec<u8> {
    app_image(Chip::Esp32c3, project, version, 200_000)
}

/// A project with a file `new.bin`.
fn project(image: &[u8]) -> Project {
    let project = Project::new(&[Chip::Esp32c3]);
    project.write("new.bin", image);
    project
}

fn push(project: &Project, address: SocketAddr, token: Option<&str>, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["push", &address.to_string()]).args(more).current_dir(project.path(""));
    command.env_remove("TOWLINE_TOKEN").env("SOURCE_DATE_EPOCH", "1790000000");
    command.envs(token.map(|token| ("TOWLINE_TOKEN", token)));
    command.output().unwrap()
}

/// Pushes, which has to fail; returns what is said.
fn fails(project: &Project, address: SocketAddr, token: Option<&str>, more: &[&str]) -> String {
    let output = push(project, address, token, more);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("hint: "), "{said}");
    said
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

const FILE: [&str; 2] = ["--image", "new.bin"];

#[test]
fn a_pushed_image_runs_after_the_restart() {
    let board = Board::new(SelfTest::Passes);
    let project = project(&image("lamp", "1.1.0"));
    let output = push(&project, board.address, Some(TOKEN), &FILE);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{} runs 1.1.0 from ota_1\n", board.address));
    let again = push(&project, board.address, Some(TOKEN), &["--image", "new.bin", "--json"]);
    let expected = serde_json::json!({
        "outcome": "runs", "version": "1.1.0", "slot": "ota_0", "pushed": "1.1.0",
        "before": { "version": "1.1.0", "slot": "ota_1" },
    });
    assert_eq!(json(&again), expected, "the same version again goes to the other slot");
}

#[test]
fn the_newest_release_of_the_only_target_is_pushed() {
    let board = Board::new(SelfTest::Passes);
    let chips = [Chip::Esp32c3];
    let project = Project::new(&chips);
    for version in ["1.0.0", "1.2.0"] {
        project.build(&chips, version).done(&["release"]);
    }
    let output = push(&project, board.address, Some(TOKEN), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{} runs 1.2.0 from ota_1\n", board.address));
}

#[test]
fn a_rollback_is_told_with_the_version_that_is_back() {
    for self_test in [SelfTest::Fails, SelfTest::Hangs] {
        let board = Board::new(self_test);
        let project = project(&image("lamp", "1.1.0"));
        let said = fails(&project, board.address, Some(TOKEN), &FILE);
        assert!(said.contains("came back with the old version 1.0.0: it rolled back"), "{said}");
        let output = push(&project, board.address, Some(TOKEN), &["--image", "new.bin", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(json(&output)["outcome"], "rolled-back");
    }
}

#[test]
fn without_waiting_the_installed_version_is_told() {
    let board = Board::new(SelfTest::Passes);
    let project = project(&image("lamp", "1.1.0"));
    let output = push(&project, board.address, Some(TOKEN), &["--image", "new.bin", "--no-wait"]);
    assert_eq!(text(&output.stdout), format!("1.1.0 is installed; {} restarts\n", board.address));
}

#[test]
fn the_token_comes_from_the_environment_or_a_file_and_is_never_shown() {
    let board = Board::new(SelfTest::Passes);
    let project = project(&image("lamp", "1.1.0"));
    let said = fails(&project, board.address, None, &FILE);
    assert!(said.contains("TOWLINE_TOKEN") && said.contains("--token-file"), "{said}");
    let said = fails(&project, board.address, Some("not the right one"), &FILE);
    assert!(said.contains("401") && said.contains("TOWLINE_TOKEN"), "{said}");
    assert!(!said.contains("not the right one"), "{said}");
    project.write("token", format!("{TOKEN}\n"));
    let file = ["--image", "new.bin", "--token-file", "token", "--no-wait"];
    let output = push(&project, board.address, Some("not the right one"), &file);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("horse"));
}

#[test]
fn what_is_not_for_the_device_is_not_sent_or_refused() {
    let board = Board::new(SelfTest::Passes);
    let said = fails(&project(&image("fan", "1.1.0")), board.address, Some(TOKEN), &FILE);
    assert!(said.contains("project `fan`") && said.contains("runs `lamp`"), "{said}");
    let other_chip = app_image(Chip::Esp32s3, "lamp", "1.1.0", 1000);
    let said = fails(&project(&other_chip), board.address, Some(TOKEN), &FILE);
    assert!(said.contains("523") && said.contains("another chip"), "{said}");
    let huge = app_image(Chip::Esp32c3, "lamp", "1.1.0", 500_000);
    let said = fails(&project(&huge), board.address, Some(TOKEN), &FILE);
    assert!(said.contains("413") && said.contains("larger than the slot"), "{said}");
    let output = push(&project(b"no image"), board.address, Some(TOKEN), &FILE);
    assert!(text(&output.stderr).contains("new.bin is not an app image"));
}

#[test]
fn a_push_that_was_killed_half_way_is_repeated() {
    let board = Board::new(SelfTest::Passes);
    let image = image("lamp", "1.1.0");
    let mut socket = TcpStream::connect(board.address).unwrap();
    let head = format!(
        "POST /api/v1/firmware/upload HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        board.address,
        image.len()
    );
    socket.write_all(&[head.as_bytes(), &image[..image.len() / 2]].concat()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 522 "), "{answer}");

    let output = push(&project(&image), board.address, Some(TOKEN), &FILE);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{} runs 1.1.0 from ota_1\n", board.address));
}

#[test]
fn who_does_not_answer_or_is_no_device_is_told_apart() {
    let project = project(&image("lamp", "1.1.0"));
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let said = fails(&project, address, Some(TOKEN), &FILE);
    assert!(said.contains(&format!("cannot reach {address}")), "{said}");

    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = other.accept().unwrap();
        let _ = socket.read(&mut [0; 1000]);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").unwrap();
    });
    let said = fails(&project, address, Some(TOKEN), &FILE);
    assert!(said.contains("does not answer as a device does"), "{said}");
}
