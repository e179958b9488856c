"""The people who read: they fetch their mail over IMAP and open, click or unsubscribe, by what stands in the message."""

import email
import email.message
import email.policy
import imaplib
import re
import ssl
import time
from html import unescape

from api import Failed, touch


class Mail:
    """A received message, with the links that a mail program would offer."""

    def __init__(self, raw: bytes):
        self.message = email.message_from_bytes(raw, policy=email.policy.default)
        part = self.message.get_body(("html",))
        self.html = part.get_content() if part else ""

    def pixel(self) -> str | None:
        """The address of the tracking pixel."""
        return first(r'<img[^>]+src="([^"]+/o/[^"]+\.gif)"', self.html)

    def links(self) -> list[str]:
        """The rewritten links of the HTML part, in their order."""
        return [unescape(url) for url in re.findall(r'<a[^>]+href="([^"]+/c/[^"]+)"', self.html)]

    def one_click(self) -> str | None:
        """The address for one-click unsubscribing (RFC 8058), if both header fields are there."""
        if self.message["List-Unsubscribe-Post"] != "List-Unsubscribe=One-Click":
            return None
        return first(r"<(https?://[^>]+)>", str(self.message["List-Unsubscribe"] or ""))


def first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return unescape(found.group(1)) if found else None


class Inboxes:
    """The mailboxes of the demo's world, read with TLS that is verified against the world's own authority."""

    def __init__(self, world: dict):
        self.world = world
        self.tls = ssl.create_default_context(cafile=world["ca_file"])

    def read(self, address: str) -> list[Mail]:
        """All messages in the mailbox of this address, oldest first."""
        try:
            with imaplib.IMAP4_SSL(self.world["host"], self.world["imaps_port"], ssl_context=self.tls) as server:
                server.login(address.split("@")[0], self.world["password"])
                _, (n_messages,) = server.select("INBOX", readonly=True)
                if n_messages == b"0":
                    return []
                _, parts = server.fetch("1:*", "(BODY.PEEK[])")
                return [Mail(part[1]) for part in parts if isinstance(part, tuple)]
        except (imaplib.IMAP4.error, OSError) as error:
            raise Failed(f"the mailbox of {address} could not be read: {error}",
                         f"See the logs of Dovecot: {self.world['folder']}/log/dovecot.log") from None

    def wait(self, addresses: list[str], n_messages: int, seconds: float) -> dict[str, list[Mail]]:
        """The mail of each of them once all have `n_messages`."""
        mail: dict[str, list[Mail]] = {}
        deadline = time.monotonic() + seconds
        missing = addresses
        while True:
            for address in missing:
                mail[address] = self.read(address)
            missing = [address for address in addresses if len(mail[address]) < n_messages]
            if not missing:
                return mail
            if time.monotonic() > deadline:
                raise Failed(f"after {seconds:.0f} seconds {len(missing)} readers still wait for their mail, "
                             f"such as {missing[0]}", f"See the logs of the mail world: {self.world['folder']}/log")
            time.sleep(0.3)


class Touched:
    """What the readers did, counted as the statistics should count it."""

    def __init__(self):
        self.opens = self.clicks = 0
        self.openers: set[str] = set()
        self.clickers: set[str] = set()
        self.unsubscribed: list[str] = []
        self.faults: list[str] = []

    def open(self, address: str, mail: Mail) -> None:
        status, headers, _ = touch(need(mail.pixel(), "a pixel", address))
        self.expect(status == 200 and headers.get("Content-Type") == "image/gif", f"the pixel of {address}: {status}")
        self.opens += 1
        self.openers.add(address)

    def click(self, address: str, mail: Mail, n: int, target: str) -> None:
        links = mail.links()
        status, headers, _ = touch(need(links[n] if n < len(links) else None, f"link {n + 1}", address))
        self.expect(status == 302 and headers.get("Location") == target,
                    f"link {n + 1} of {address}: {status} to {headers.get('Location')}, not 302 to {target}")
        self.clicks += 1
        self.clickers.add(address)

    def unsubscribe(self, address: str, mail: Mail) -> None:
        url = need(mail.one_click(), "one-click unsubscribing", address)
        # A scanner that follows the link first must not unsubscribe anyone.
        status, _, page = touch(url)
        self.expect(status == 200 and b"<form" in page, f"the unsubscribe page of {address}: {status}")
        status, _, _ = touch(url, "List-Unsubscribe=One-Click")
        self.expect(status == 200, f"unsubscribing {address}: {status}")
        self.unsubscribed.append(address)

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


def need(url: str | None, what: str, address: str) -> str:
    if url is None:
        raise Failed(f"the message to {address} has no {what}", "Look at it: it lies in that reader's mailbox.")
    return url
