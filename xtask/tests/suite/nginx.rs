//! Plain nginx serves what the publisher renders, as its manual says.

use crate::support::{Project, repository, text, tree};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use towline_descriptor::Chip;
use xtask::{signing::clock, tools};

const CHIP: [Chip; 1] = [Chip::Esp32c3];

/// What all nginx of these tests have: one process, no files of the system, and
/// settings of another host, which what is served does not take over.
const MAIN: &str = "daemon off; master_process off; pid nginx.pid; events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    add_header Cache-Control public always; default_type text/html; charset koi8-r;
    error_page 404 /other.html; absolute_redirect on; gzip on; gzip_types *;
    open_file_cache max=100; open_file_cache_valid 600s;
    include site.conf;
}
";

/// A project that is deployed to a real nginx on this machine.
struct Deployed {
    project: Project,
    address: SocketAddr,
    /// Path of the base URL.
    path: &'static str,
    nginx: Child,
}

/// An answer of the host.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

impl Deployed {
    /// Releases a first version and deploys it below `path`.
    fn new(path: &'static str, is_signed: bool) -> Self {
        let project = Project::new(&CHIP);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.port()));
        let url = format!("https://localhost:{}{path}", address.port());
        let config = project.read("towline.toml").replace("https://localhost/", &url);
        project.write("towline.toml", config);
        certify(&project);
        let file = |name: &str| project.path(name).display().to_string();
        let config = project.done(&[
            "nginx",
            "--root",
            &file("srv/site"),
            "--certificate",
            &file("host.pem"),
            "--key",
            &file("host.key"),
            "--listen",
            &address.to_string(),
        ]);
        let other = config.replace("server_tokens off;", "location ~ json$ { return 403; }");
        assert_ne!(other, config);
        fs::create_dir_all(project.path("nginx")).unwrap();
        project.write("nginx/nginx.conf", MAIN);
        project.write("nginx/site.conf", other);
        let program = tools::nginx()
            .expect("no nginx: `apt-get install nginx-light`, or `cargo xtask ci` installs it");
        if is_signed {
            publish(&project, &["keys", "init"]);
        }
        publish(project.build(&CHIP, "1.0.0"), &["release"]);
        deploy(&project);
        let nginx = Command::new(program)
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(project.path("nginx"))
            .spawn()
            .unwrap();
        let deployed = Self { project, address, path, nginx };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "nginx does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        deployed
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{}{path}", self.address.port(), self.path)
    }

    fn ca(&self) -> String {
        self.project.path("ca.pem").display().to_string()
    }

    /// Connects, and checks the certificate.
    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(client, TcpStream::connect(self.address).unwrap())
    }

    /// Asks for a path of the host.
    fn ask(&self, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = text(&answer[..end]);
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers =
            headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: answer[end + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("{}{path}", self.path), "")
    }

    /// Lets a device look for an update, and returns what becomes of it.
    fn poll(&self) -> serde_json::Value {
        let poll = ["sim", "update", "--target", "esp32c3", "--ca", &self.ca(), "--json"];
        serde_json::from_str(&self.project.done(&poll)).unwrap()
    }

    fn release(&self, version: &str) {
        publish(self.project.build(&CHIP, version), &["release"]);
        deploy(&self.project);
    }
}

/// Makes an authority, and a certificate of it for the host.
fn certify(project: &Project) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let host = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let host = host.signed_by(&key, &authority).unwrap();
    project.write("ca.pem", authority.pem());
    project.write("host.pem", host.pem());
    project.write("host.key", key.serialize_pem());
}

/// Runs a command at the true time: devices know it.
fn publish(project: &Project, arguments: &[&str]) {
    let output = project.xtask_with(arguments, &[("SOURCE_DATE_EPOCH", &clock().to_string())]);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
}

/// Runs the commands of the manual that deploy.
fn deploy(project: &Project) {
    let manual = repository().join("xtask/docs/self-hosting.md");
    let manual = fs::read_to_string(manual).unwrap();
    let blocks = manual.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands = blocks.into_iter().find(|block| block.contains("mv -T")).unwrap();
    let here = commands.replace("to=/srv/lamp", "to=srv");
    assert_ne!(here, commands);
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &here]).current_dir(project.path(".")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn each_kind_of_file_has_its_headers_and_nothing_is_redirected() {
    for (path, is_signed) in [("/", false), ("/fw/lamp/", true)] {
        let host = Deployed::new(path, is_signed);
        let files = tree(&host.project.path("dist/site"));
        assert!(files.iter().any(|(path, _)| path.starts_with("root")) == is_signed);
        let mut kinds = BTreeMap::new();
        for (path, bytes) in &files {
            let path = path.display().to_string();
            let answer = host.get(&path);
            assert_eq!((answer.status, &answer.body), (200, bytes), "{path}");
            let header = |name: &str| answer.headers.get(name).map(String::as_str);
            let named = path.ends_with(".bin") || path.starts_with("assets/");
            let cache = if named { "public, max-age=31536000, immutable" } else { "no-cache" };
            assert_eq!(header("cache-control"), Some(cache), "{path}");
            assert_eq!(header("access-control-allow-origin"), Some("*"), "{path}");
            assert_eq!(header("content-length"), Some(bytes.len().to_string().as_str()), "{path}");
            assert_eq!(header("accept-ranges"), Some("bytes"), "{path}");
            assert_eq!(header("content-encoding"), None, "{path}");
            let extension = path.rsplit('/').next().unwrap().rsplit('.').next().unwrap();
            kinds.insert(extension.to_owned(), header("content-type").unwrap().to_owned());
            let zips = matches!(extension, "html" | "css" | "js" | "svg");
            let zipped = host.ask(&format!("{}{path}", host.path), "Accept-Encoding: gzip\r\n");
            assert_eq!(zipped.headers.contains_key("content-encoding"), zips, "{path}");

            // Who has it is told so.
            let tag = header("etag").unwrap();
            let url = format!("{}{path}", host.path);
            let again = host.ask(&url, &format!("If-None-Match: {tag}\r\n"));
            assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
            let middle = bytes.len() / 2;
            let rest = host.ask(&url, &format!("Range: bytes={middle}-\r\nIf-Range: {tag}\r\n"));
            assert_eq!((rest.status, rest.body.as_slice()), (206, &bytes[middle..]), "{path}");
        }
        for (extension, expected) in [
            ("html", "text/html; charset=utf-8"),
            ("css", "text/css; charset=utf-8"),
            ("js", "text/javascript; charset=utf-8"),
            ("svg", "image/svg+xml"),
            ("json", "application/json"),
            ("bin", "application/octet-stream"),
        ] {
            assert_eq!(kinds[extension], expected);
        }
        assert_eq!(host.get("").body, fs::read(host.project.path("dist/site/index.html")).unwrap());

        let not_found = fs::read(host.project.path("dist/site/404.html")).unwrap();
        for path in
            ["root/9.json", "ota", "ota/", "firmware", "firmware/lamp/9.9.9/x-0123456789ab.bin"]
        {
            let answer = host.get(path);
            assert_eq!((answer.status, &answer.body), (404, &not_found), "{path}");
            assert_eq!(answer.headers["cache-control"], "no-cache", "{path}");
        }
        for path in ["/../towline.toml", "/%2e%2e/host.key", "/..%2fhost.key"] {
            assert!(matches!(host.ask(path, "").status, 400 | 404), "{path}");
        }
        if path != "/" {
            assert_eq!(host.ask("/", "").status, 404);
            let answer = host.ask("/fw/lamp", "");
            assert_eq!((answer.status, answer.headers["location"].as_str()), (301, "/fw/lamp/"));
        }
        let check = ["check", &host.url(""), "--ca", &host.ca(), "--json"];
        let now = clock().to_string();
        let checked = host.project.xtask_with(&check, &[("SOURCE_DATE_EPOCH", &now)]);
        assert!(checked.status.success(), "{}", text(&checked.stdout));
    }
}

#[test]
fn a_device_updates_from_it_and_follows_when_another_site_takes_its_place() {
    let host = Deployed::new("/lamp/", true);
    host.project.done(&["sim", "flash", "--target", "esp32c3"]);
    assert_eq!(host.poll()["reason"], "up to date");
    host.release("1.1.0");
    assert_eq!(host.poll()["installed"], "1.1.0");

    // A download is under way while the next site is deployed and the folder of
    // the last one deleted.
    let folder = host.project.path("dist/site/firmware/lamp/1.1.0");
    let files = tree(&folder);
    let (name, image) = files
        .iter()
        .find(|(path, _)| {
            path.to_string_lossy().contains("-app-") && path.extension().unwrap() == "bin"
        })
        .unwrap();
    let url = format!("/lamp/firmware/lamp/1.1.0/{}", name.display());
    let mut download = host.connect();
    write!(download, "GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = [0; 100];
    download.read_exact(&mut head).unwrap();
    let old: PathBuf = fs::read_link(host.project.path("srv/site")).unwrap();
    host.release("1.2.0");
    fs::remove_dir_all(host.project.path("srv").join(&old)).unwrap();
    assert_ne!(fs::read_link(host.project.path("srv/site")).unwrap(), old);
    let mut rest = Vec::new();
    download.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(image), "{} bytes of {}", rest.len(), image.len());
    // One that broke off goes on in the new one.
    let middle = image.len() / 2;
    let rest = host.ask(&url, &format!("Range: bytes={middle}-\r\n"));
    assert_eq!((rest.status, rest.body.as_slice()), (206, &image[middle..]));

    assert_eq!(host.poll()["installed"], "1.2.0");
    assert_eq!(host.poll()["reason"], "up to date");
}
