//! A small web server over a folder, which counts what it gives and can refuse or break off.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As a web server does, after a pause.
    Serve(Duration),
    /// With 403 to everything that would change something.
    RefuseWrites,
    /// With no word to what would change something.
    IgnoreWrites,
    /// As a web server does this many times; then it breaks connections off in mid-answer.
    BreakOffAfter(usize),
}

/// A server on a port of its own, which ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    told: Arc<Requests>,
}

/// What the server was asked for.
#[derive(Default)]
struct Requests {
    requests: AtomicUsize,
    records: AtomicUsize,
    object_bytes: AtomicU64,
    objects_at_once: AtomicUsize,
    most_objects_at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    at_once: AtomicUsize,
}

impl Server {
    /// Serves `folder` under `/`.
    pub(crate) fn start(folder: &Path, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it has one"));
        let told = Arc::new(Requests::default());
        let (folder, kept) = (folder.to_owned(), Arc::clone(&told));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, told) = (folder.clone(), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &folder, manner, &told));
            }
        });
        Self { url, told }
    }

    /// Returns how many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.told.requests.load(Ordering::SeqCst)
    }

    /// Returns how many of them were for records.
    pub(crate) fn records(&self) -> usize {
        self.told.records.load(Ordering::SeqCst)
    }

    /// Returns how many bytes of objects it gave.
    pub(crate) fn object_bytes(&self) -> u64 {
        self.told.object_bytes.load(Ordering::SeqCst)
    }

    /// Returns how many requests for objects were under way at once, at most.
    pub(crate) fn most_objects_at_once(&self) -> usize {
        self.told.most_objects_at_once.load(Ordering::SeqCst)
    }

    /// Returns how many requests were under way at once, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.told.most_at_once.load(Ordering::SeqCst)
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, folder: &Path, manner: Manner, told: &Requests) {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut out = stream;
    while let Some((method, path)) = request(&mut lines) {
        let number = told.requests.fetch_add(1, Ordering::SeqCst);
        let now = told.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        told.most_at_once.fetch_max(now, Ordering::SeqCst);
        let is_object = path.starts_with("/objects/");
        if is_object {
            let now = told.objects_at_once.fetch_add(1, Ordering::SeqCst) + 1;
            told.most_objects_at_once.fetch_max(now, Ordering::SeqCst);
        }
        if path.starts_with("/records/") {
            told.records.fetch_add(1, Ordering::SeqCst);
        }
        if let Manner::Serve(pause) = manner {
            thread::sleep(pause);
        }
        let reads = method == "GET" || method == "HEAD";
        if manner == Manner::IgnoreWrites && !reads {
            thread::sleep(Duration::from_secs(60));
            return;
        }
        let file = fs::read(folder.join(path.trim_start_matches('/')));
        let (status, body) = match file {
            _ if manner == Manner::RefuseWrites && !reads => ("403 Forbidden", vec![]),
            _ if !reads => ("405 Method Not Allowed", vec![]),
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", vec![]),
        };
        told.at_once.fetch_sub(1, Ordering::SeqCst);
        told.objects_at_once.fetch_sub(usize::from(is_object), Ordering::SeqCst);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Thu, 01 Jan 1970 00:00:01 \
             GMT\r\nETag: \"{number}\"\r\n\r\n",
            body.len()
        );
        if out.write_all(head.as_bytes()).is_err() {
            return;
        }
        if matches!(manner, Manner::BreakOffAfter(most) if number >= most) {
            out.write_all(&body[..body.len() / 2]).ok();
            return;
        }
        if method != "HEAD" {
            if is_object {
                told.object_bytes.fetch_add(body.len() as u64, Ordering::SeqCst);
            }
            if out.write_all(&body).is_err() {
                return;
            }
        }
    }
}

/// Reads a request with its body, and returns its method and path.
fn request(lines: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some((method, path))
}

/// Returns the address of a port where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("it has one"))
}

/// Returns the path of an object or record below a store.
pub(crate) fn path_in(store: &Path, folder: &str, hex: &str, end: &str) -> PathBuf {
    store.join(folder).join(&hex[..2]).join(format!("{}{end}", &hex[2..]))
}
