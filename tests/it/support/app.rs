//! The API on a socket of its own, with a database of its own, and a client whose every answer is held to the contract.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, middleware::from_fn, web};
use postrider::{
    api::{self, caller},
    config::{self, Settings},
    domain::id::WorkspaceId,
    keyring::Keyring,
    network::{HttpsClient, NetworkPolicy},
    store::{self, Store},
    track,
};
use serde_json::{Value, json};

use super::TestDatabase;

/// An API server and a client with a key of every scope for one workspace.
pub struct TestApp {
    pub database: TestDatabase,
    pub store: Store,
    pub keyring: Arc<Keyring>,
    pub operator_key: String,
    pub workspace: WorkspaceId,
    pub client: Client,
}

/// Speaks for one key.
#[derive(Clone)]
pub struct Client {
    url: String,
    key: Option<String>,
    http: reqwest::Client,
}

/// An answer, already held to the contract.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    /// Fail the test unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The faults of a problem, sorted: pointer (or parameter) and code.
    pub fn faults(&self) -> Vec<(&str, &str)> {
        let all = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        let mut faults: Vec<_> = all
            .iter()
            .map(|fault| {
                let name = if fault["pointer"].is_string() { "pointer" } else { "parameter" };
                (fault[name].as_str().unwrap(), fault["code"].as_str().unwrap())
            })
            .collect();
        faults.sort_unstable();
        faults
    }

    /// A string of the body, such as `id`.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> String {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{pointer} in {:#}", self.body))
            .into()
    }
}

impl TestApp {
    /// Default settings, but for the networks a test may reach.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these settings in the environment, such as `("POSTRIDER__API__REQUESTS_PER_MINUTE", "3")`.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let policy = NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        Self::start_reaching(variables, HttpsClient::new(policy, None)).await
    }

    /// The same, with this client for what is fetched over HTTPS.
    pub async fn start_reaching(variables: &[(&str, &str)], https: HttpsClient) -> Self {
        let database = TestDatabase::new().await;
        let store = Store::open(&database.url(), 8, Duration::from_secs(3)).unwrap();
        let keyring = Arc::new(Keyring::from_keys(&[(1, [7; 32])]).unwrap());
        let mut all = vec![
            ("POSTRIDER__NETWORK__ALLOW", "127.0.0.0/8,::1/128"),
            ("POSTRIDER__API__REQUESTS_PER_MINUTE", "0"),
            ("POSTRIDER__SENDER_DOMAINS__ALLOW_UNVERIFIED", "true"),
        ];
        all.retain(|(name, _)| !variables.iter().any(|(other, _)| name == other));
        all.extend_from_slice(variables);
        let pairs = all.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let settings = Arc::new(config::read_from(None, pairs).settings().unwrap());
        let (touch, waiting) =
            track::Context::new(store.clone(), Arc::clone(&keyring), &settings.tracking, https).unwrap();
        let url = serve(&store, &keyring, &settings, touch, waiting);
        let operator = caller::make(&keyring, None, "operator", Vec::new(), chrono::Utc::now()).unwrap();
        store::api_keys::insert(&mut store.acquire().await.unwrap(), &operator.key).await.unwrap();
        let operator_client = Client::new(&url, Some(&operator.text));
        let (workspace, client) = new_workspace(&operator_client).await;
        Self { database, store, keyring, operator_key: operator.text, workspace, client }
    }

    /// A client with the operator's key.
    pub fn operator(&self) -> Client {
        Client { key: Some(self.operator_key.clone()), ..self.client.clone() }
    }

    /// A client without any key.
    pub fn anonymous(&self) -> Client {
        self.client.without_key()
    }

    /// Another tenant.
    pub async fn stranger(&self) -> Client {
        new_workspace(&self.operator()).await.1
    }
}

async fn new_workspace(operator: &Client) -> (WorkspaceId, Client) {
    let workspace = operator.post("/v1/workspaces", json!({"name": "Shop"})).await.expect(201).text("/id");
    let body = json!({"name": "all", "scopes": api::SCOPES});
    let made = operator.post(&format!("/v1/workspaces/{workspace}/keys"), body).await.expect(201);
    let client = Client { key: Some(made.text("/secret")), ..operator.clone() };
    (workspace.parse().unwrap(), client)
}

fn serve(
    store: &Store,
    keyring: &Arc<Keyring>,
    settings: &Arc<Settings>,
    touch: Arc<track::Context>,
    waiting: track::Waiting,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let context = Arc::new(api::Context {
        store: store.clone(),
        keyring: Arc::clone(keyring),
        settings: Arc::clone(settings),
        limits: api::Limits::new(settings.api.requests_per_minute),
        extra_ca_pem: None,
    });
    // On a thread of its own, with its own runtime: it ends with the process, so a test need not stop it.
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let (_stop, shutdown) = tokio::sync::watch::channel(false);
            let mut waiting = waiting;
            actix_web::rt::spawn(async move { track::run(&mut waiting, shutdown).await });
            HttpServer::new(move || {
                App::new()
                    .wrap(from_fn(api::around))
                    .configure(api::configure(&context))
                    .configure(track::configure(&touch))
                    .default_service(web::to(api::not_found))
            })
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run()
            .await
            .unwrap();
        });
    });
    url
}

impl Client {
    /// A client of the service at this URL.
    pub fn new(url: &str, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // The service closes idle connections after five seconds; a request must not cross with that.
            .pool_idle_timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        Self { url: url.to_owned(), key: key.map(str::to_owned), http }
    }

    /// The same client without a key.
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The same client with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[], Some(body)).await
    }

    /// A POST without a body.
    pub async fn act(&self, path: &str) -> Reply {
        self.send("POST", path, &[], None).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send("PUT", path, &[], Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send("PATCH", path, &[], Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], None).await
    }

    /// Any request; the answer is held to the contract.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Reply {
        let bytes = body.as_ref().map(|body| serde_json::to_vec(body).unwrap());
        let mut all = headers.to_vec();
        if bytes.is_some() {
            all.push(("content-type", "application/json"));
        }
        let reply = self.send_raw(method, path, &all, bytes.unwrap_or_default()).await;
        if let Some(body) = body.filter(|_| (200..300).contains(&reply.status)) {
            super::contract::check_request(method, path, &body);
        }
        reply
    }

    /// Any request with any bytes; the answer is held to the contract.
    pub async fn send_raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).body(body.clone());
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        super::contract::check(method, path, status, &headers, &bytes);
        // What was taken must be what the contract allows: a field that is read but not written down there is a fault too.
        if let Some(sent) = serde_json::from_slice(&body).ok().filter(|_| (200..300).contains(&status)) {
            super::contract::check_request(method, path, &sent);
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status, headers, body }
    }
}
