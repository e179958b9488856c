"""A small client of Postrider's HTTP interface, as a marketing app would write one. The contract is openapi.yaml."""

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid


class Failed(Exception):
    """A step that failed: what went wrong, and what to do about it."""

    def __init__(self, what: str, todo: str):
        super().__init__(what)
        self.what, self.todo = what, todo


class Api:
    """Calls with one key. Every answer that is not 2xx raises `Failed` with the words of the problem."""

    def __init__(self, url: str, key: str, log: str):
        self.url, self.key, self.log = url, key, log

    def get(self, path: str, **query):
        return self.call("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path: str, body: dict | None = None):
        return self.call("POST", path, {} if body is None else body)

    def pages(self, path: str, **query):
        """All items of a list, page by page."""
        query = {"limit": 200, **query}
        while True:
            page = self.get(path, **query)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def call(self, method: str, path: str, body: dict | None = None):
        headers = {"Authorization": f"Bearer {self.key}"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
            # A repetition after a lost answer would get the first answer and do nothing twice.
            headers["Idempotency-Key"] = str(uuid.uuid4())
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path} was answered with {describe(error)}",
                         f"The service's log says more: {self.log}") from None
        except (OSError, ValueError) as error:
            raise Failed(f"{method} {path} got no usable answer: {error}",
                         f"See whether the service still runs, and its log: {self.log}") from None


def describe(error: urllib.error.HTTPError) -> str:
    """A problem (RFC 9457) in one line, with all its faults."""
    try:
        problem = json.load(error)
        faults = "; ".join(
            " ".join(str(fault[name]) for name in ("pointer", "parameter", "code", "hint") if fault.get(name))
            for fault in problem.get("errors", []))
        return f"{error.code} {problem['title']}: {problem['detail']}" + (f" ({faults})" if faults else "")
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at and not followed: nothing leaves this machine."""

    def redirect_request(self, *_):
        return None


WITHOUT_REDIRECTS = urllib.request.build_opener(NoRedirect)


def touch(url: str, form: str | None = None) -> tuple[int, dict, bytes]:
    """What a recipient's mail program does with a link: GET it, or POST a form to it. Status, headers and body."""
    data = None if form is None else form.encode()
    try:
        with WITHOUT_REDIRECTS.open(urllib.request.Request(url, data), timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()
    except OSError as error:
        raise Failed(f"{url} got no answer: {error}", "See whether the service still runs.") from None
