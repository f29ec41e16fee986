//! The demo as a browser meets it: the page with its script, and a board behind
//! each WebSocket.

use crate::support::Project;
use futures_util::{SinkExt, StreamExt};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::StatusCode},
};
use towline_descriptor::Chip;
use xtask::{demo::Demo, installer::File, serve::Server};

const SCRIPT: &str = "console.log('demo');\n";

/// Serves the site of a project below `/lamp`, with boards or without.
fn serve(project: &Project, demo: bool) -> SocketAddr {
    let any = "127.0.0.1:0".parse().unwrap();
    let mut server = Server::bind(any, &project.path("dist/site"), "/lamp", None).unwrap();
    if demo {
        let script = File { name: "demo-1.js".into(), bytes: SCRIPT.into() };
        server = server.with_demo(Demo::new(script));
    }
    let address = server.address().unwrap();
    thread::spawn(move || server.run(|_| {}));
    address
}

fn released() -> Project {
    let project = Project::new(&[Chip::Esp32c3]);
    project.build(&[Chip::Esp32c3], "1.0.0").done(&["release"]);
    project
}

/// Returns status and body of a page.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut server = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    server.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

type Socket = WebSocketStream<tokio::net::TcpStream>;

async fn connect(address: SocketAddr, path: &str, origin: &str) -> Result<Socket, Error> {
    let mut request = format!("ws://{address}{path}").into_client_request()?;
    request.headers_mut().insert("Origin", origin.parse().unwrap());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    client_async(request, stream).await.map(|(socket, _)| socket)
}

async fn ask(socket: &mut Socket, message: &str) -> String {
    socket.send(Message::text(message)).await.unwrap();
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return text.to_string();
        }
    }
}

#[test]
fn only_a_demo_puts_its_script_into_the_page_and_nothing_of_it_is_published() {
    let project = released();
    let (plain, demo) = (serve(&project, false), serve(&project, true));
    let (_, page) = get(plain, "/lamp/");
    for path in ["/", "/lamp/", "/index.html", "/lamp/index.html"] {
        let (status, with) = get(demo, path);
        assert_eq!(status, "HTTP/1.1 200 OK");
        let (before, after) = with.split_once("<script src=\"").unwrap();
        let (script, after) = after.split_once("\"></script>").unwrap();
        assert!(before.trim_end().ends_with("<head>"), "{before}");
        assert_eq!(format!("{}{after}", before.trim_end()), page);
        assert_eq!(get(demo, &format!("/lamp/{script}")), (status, SCRIPT.into()));
        assert_eq!(get(plain, &format!("/lamp/{script}")).0, "HTTP/1.1 404 Not Found");
    }
    assert_eq!(get(plain, "/demo/board").0, "HTTP/1.1 404 Not Found");
    // Everything else is as without it.
    let index = "/lamp/releases.json";
    assert_eq!(get(demo, index), get(plain, index));
}

#[tokio::test]
async fn each_connection_has_a_board_of_its_own() {
    let address = serve(&released(), true);
    let own = format!("http://{address}");
    let path = "/lamp/demo/board?chip=esp32s3&flash=8MB&held=1";
    let mut one = connect(address, path, &own).await.unwrap();
    let mut other = connect(address, "/demo/board", &own).await.unwrap();
    assert_eq!(ask(&mut one, r#"{"write":[4096,"AQID"],"id":1}"#).await, r#"{"id":1,"ok":true}"#);
    let read = r#"{"read":[4096,3],"id":2}"#;
    assert_eq!(ask(&mut one, read).await, r#"{"flash":"AQID","id":2}"#);
    assert_eq!(ask(&mut other, read).await, r#"{"flash":"////","id":2}"#);

    // Its loader answers over the socket.
    assert!(ask(&mut one, r#"{"open":115200,"id":3}"#).await.contains("ok"));
    while !ask(&mut one, r#"{"state":true,"id":4}"#).await.contains("rom") {}
    let sync = [&[0xC0, 0, 8, 36, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20][..], &[0x55; 32], &[0xC0]];
    one.send(Message::binary(sync.concat())).await.unwrap();
    let mut line = Vec::new();
    while line.len() < 8 * 14 {
        match one.next().await.unwrap().unwrap() {
            Message::Binary(bytes) if bytes.first() == Some(&0xC0) => line.extend(bytes),
            // What the ROM prints at its start.
            _ => {}
        }
    }
    assert_eq!(line[..3], [0xC0, 1, 8]);
}

#[tokio::test]
async fn pages_of_others_and_boards_that_there_are_not_are_refused() {
    let address = serve(&released(), true);
    let own = format!("http://{address}");
    let refused = async |path: &str, origin: &str| match connect(address, path, origin).await {
        Err(Error::Http(response)) => response.status(),
        answer => panic!("{path} {origin}: {answer:?}"),
    };
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"] {
        assert_eq!(refused("/demo/board", origin).await, StatusCode::FORBIDDEN, "{origin}");
    }
    assert_eq!(refused("/demo/board?chip=esp8266", &own).await, StatusCode::BAD_REQUEST);
    assert_eq!(get(address, "/demo/board").0, "HTTP/1.1 426 Upgrade Required");
}

#[test]
fn boards_are_for_this_machine_only() {
    let shown = released().fails(&["serve", "--demo", "--address", "0.0.0.0", "--port", "0"]);
    assert!(shown.contains("emulated boards are for this machine only"), "{shown}");
    assert!(shown.contains("hint: "), "{shown}");
}
