"""A Postrider of our own, with its private Postgres: started, filled, sent with, and looked into."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

from meter import Meter
from peers import free_port, weigh

WORDS = "The quick brown fox jumps over the lazy dog and runs on through the quiet wood until the evening comes. "
NOUNS = ["lists", "recipients", "subscriptions", "templates", "sender_domains", "relays", "campaigns", "mailboxes"]


class Api:
    """The public API with one key."""

    def __init__(self, url, key):
        self.url, self.key = url, key

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Authorization", "Bearer " + self.key)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode()[:2000]}")
        return json.loads(text) if text else None


def html(n_bytes):
    """About n_bytes of HTML once it is a message: three variables (one in the subject), three links."""
    links = "".join(f'<p><a href="https://shop.example/{n}?ref=spring">Offer {n}</a></p>' for n in range(3))
    head = f"<html><body><p>Dear {{{{first_name}}}},</p><p>{{{{n_orders}}}} orders from {{{{city}}}}.</p>{links}<p>"
    tail = "</p></body></html>"
    return head + (WORDS * 100)[: max(0, n_bytes - len(head) - len(tail))] + tail


class Installation:
    """The service in a state folder. Its process can be ended and started again with other settings."""

    def __init__(self, postrider, state):
        self.postrider, self.state = postrider, state
        self.process = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        os.makedirs(state, exist_ok=True)
        with open(os.path.join(os.path.dirname(__file__), "postrider.toml"), encoding="utf-8") as file:
            settings = file.read().replace("@PORT@", str(self.port))
        with open(os.path.join(state, "postrider.toml"), "w", encoding="utf-8") as file:
            file.write(f'{settings}\n[state]\nfolder = "{state}/postrider"\n')

    def start(self, **dispatch):
        """Start the service with these settings of [dispatch]; ends the one that runs."""
        self.stop()
        environment = dict(os.environ)
        for name, value in dispatch.items():
            environment[f"POSTRIDER__DISPATCH__{name.upper()}"] = str(value)
        with open(os.path.join(self.state, "postrider.log"), "ab") as log:
            # A session of its own: Ctrl-C in the terminal must not reach it.
            self.process = subprocess.Popen([self.postrider, "serve"], cwd=self.state, env=environment, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        with open(os.path.join(self.state, "service.pid"), "w", encoding="ascii") as file:
            file.write(f"{self.process.pid}\n")
        for _ in range(1200):
            try:
                with urllib.request.urlopen(self.url + "/health/ready", timeout=2):
                    return
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        sys.exit(f"Postrider did not become ready: see {self.state}/postrider.log")

    def start_beside(self):
        """Another node on the same Postgres, with the engine alone. The caller ends it."""
        url = f"postgres://postrider@localhost/postgres?host={self.state}/postrider/run"
        environment = {**os.environ, "POSTRIDER__DATABASE__URL": url}
        with open(os.path.join(self.state, "postrider.log"), "ab") as log:
            return subprocess.Popen([self.postrider, "serve", "--roles", "dispatch"], cwd=self.state, env=environment,
                                    stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    @property
    def postgres_pid(self):
        with open(os.path.join(self.state, "postrider/postgres/postmaster.pid"), encoding="ascii") as file:
            return int(file.readline())

    def meter(self, **others):
        return Meter(service=self.process.pid, postgres=self.postgres_pid, **others)

    def psql(self, query):
        command = ["psql", "-h", f"{self.state}/postrider/run", "-U", "postrider", "-d", "postgres", "-v",
                   "ON_ERROR_STOP=1", "-qtAc", query]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"psql: {done.stderr}")
        return done.stdout.strip()

    def operator(self):
        words = subprocess.run([self.postrider, "keys", "create", "--operator", "--name", "bench"], cwd=self.state,
                               capture_output=True, text=True).stdout
        keys = [word for word in words.split() if word.startswith("pr_live_")]
        return Api(self.url, keys[0]) if keys else sys.exit(f"no operator key was created: {words}")


class Workspace:
    """A tenant with a sender domain, lists of any length, and one relay."""

    def __init__(self, installation, n_bytes):
        self.installation, self.n_bytes = installation, n_bytes
        operator = installation.operator()
        self.id = operator.call("POST", "/v1/workspaces", {"name": "Bench"})["id"]
        scopes = [f"{noun}.{verb}" for noun in NOUNS for verb in ("read", "write")] + ["campaigns.send"]
        key = operator.call("POST", f"/v1/workspaces/{self.id}/keys", {"name": "bench", "scopes": scopes})["secret"]
        self.api = Api(installation.url, key)
        self.lists = {}
        self.domain = self.api.call("POST", "/v1/sender-domains", {"domain": "sender.test",
                                                                   "return_path_domain": "bounces.test"})["id"]
        self.html_bytes = n_bytes

    def list(self, n):
        """A list of n recipients with three attributes over seven domains; written by SQL, as an import leaves it."""
        if n not in self.lists:
            self.lists[n] = self.api.call("POST", "/v1/lists", {"name": f"{n} readers"})["id"]
            self.installation.psql(f"""
                insert into domains (domain) select 'example' || n || '.test' from generate_series(0, 6) n
                on conflict do nothing;
                insert into recipients (workspace_id, id, address, address_key, domain, attributes, created_at, updated_at)
                select w.id, uuid_v7(), a.address, a.address, 'example' || n % 7 || '.test',
                       jsonb_build_object('first_name', 'Reader ' || n, 'n_orders', n % 50, 'city', 'Lyon'), now(), now()
                from (select id from workspaces order by id desc limit 1) w, generate_series(1, {n}) n,
                     lateral (select 'reader' || n || 'of{n}@example' || n % 7 || '.test' as address) a""")
            # Or the foreign key's lookups would be planned for the few recipients that there were.
            self.installation.psql("vacuum analyze recipients")
            self.installation.psql(f"""
                insert into subscriptions (workspace_id, list_id, recipient_id, state, created_at, updated_at)
                select r.workspace_id, l.id, r.id, 'subscribed', now(), now()
                from recipients r, (select id from lists order by id desc limit 1) l
                where r.address like '%of{n}@%'""")
            # As after a night in use. Not the ledger: statistics of the one message sent so far would mislead the planner.
            self.installation.psql("vacuum analyze recipients, subscriptions, domains, lists")
        return self.lists[n]

    def signing_key(self):
        """Sign with an RSA key from now on. What stops that is a call of `api` that deletes the path answered."""
        path = f"/v1/sender-domains/{self.domain}/dkim-keys"
        return f"{path}/{self.api.call('POST', path, {'algorithm': 'rsa'})['id']}"

    def relay(self, port, n_connections, per_second=None):
        """The one relay: this port with so many connections, and so many messages a second."""
        rate = per_second and {"messages": per_second, "per_seconds": 1}
        wanted = {"port": port, "max_connections": n_connections, "rate": rate}
        known = self.api.call("GET", "/v1/relays")["items"]
        if known:
            self.api.call("PATCH", f"/v1/relays/{known[0]['id']}", wanted)
            # Its lanes are made anew within two seconds.
            time.sleep(3)
        else:
            self.api.call("POST", "/v1/relays", {"name": "sink", "host": "127.0.0.1", "tls": "none",
                                                 "messages_per_connection": 1000000, **wanted})

    def fit(self, port):
        """Make the message as long as it is to be on the wire."""
        found = weigh(port, lambda: self.send(1))
        self.html_bytes += self.n_bytes - found

    def start(self, n):
        """Start a campaign to the list of n recipients."""
        content = {"subject": "News for {{first_name}}", "html": html(self.html_bytes), "text": "Hello {{first_name}}"}
        campaign = self.api.call("POST", "/v1/campaigns", {
            "name": "bench", "from": {"name": "Shop", "address": "news@sender.test"}, "content": content,
            "audience": {"lists": [self.list(n)]}, "tracking": {"opens": True, "clicks": True}})["id"]
        self.api.call("POST", f"/v1/campaigns/{campaign}/start")
        return campaign

    def wait(self, campaign, seconds):
        """Until the campaign is sent."""
        began = time.monotonic()
        while True:
            found = self.api.call("GET", f"/v1/campaigns/{campaign}")
            if found["state"] != "sending":
                return
            if time.monotonic() - began > seconds:
                sys.exit(f"the campaign did not end within {seconds} s: {found}")
            time.sleep(0.05)

    def send(self, n, seconds=600):
        """A campaign to n recipients from its start to `sent`; answers the seconds."""
        self.list(n)
        began = time.monotonic()
        self.wait(self.start(n), seconds)
        return time.monotonic() - began

    def ledger(self, n):
        """Of the newest campaign: from the first MAIL FROM to the last settle, in seconds. Every delivery is accepted."""
        facts = self.installation.psql("""
            select count(*) filter (where state = 'accepted'), extract(epoch from max(updated_at) - min(attempt_at)),
                   extract(epoch from min(attempt_at) - (select max(started_at) from campaigns))
            from deliveries where campaign_id = (select id from campaigns order by id desc limit 1)""")
        n_accepted, seconds, first = facts.split("|")
        if int(n_accepted) != n:
            sys.exit(f"{n_accepted} of {n} were accepted")
        return float(seconds), float(first)
