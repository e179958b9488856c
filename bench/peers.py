"""What is sent to and compared with: smtp-sink, smtp-source, and a proxy that delays."""

import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, who):
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"{who} does not listen on port {port}")


class Sink:
    """A fresh smtp-sink on a port; with `dump` it keeps each message in a file of that folder."""

    def __init__(self, port, dump=None):
        command = ["smtp-sink"] + (["-u", "nobody"] if os.geteuid() == 0 else [])
        command += (["-d", dump + "/message."] if dump else []) + [f"127.0.0.1:{port}", "1024"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        wait_for_port(port, "smtp-sink")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def weigh(port, send):
    """Bytes on the wire of the one message that `send` sends to the port."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        with Sink(port, folder):
            send()
        files = os.listdir(folder)
        if len(files) != 1:
            sys.exit(f"one message was expected, {len(files)} arrived")
        with open(os.path.join(folder, files[0]), "rb") as file:
            # The sink puts lines of its own in front, which begin with X-, and keeps line ends as LF.
            own = (b"X-Client", b"X-Helo", b"X-Mail", b"X-Rcpt")
            return sum(len(line) + 2 for line in file.read().split(b"\n") if not line.startswith(own))


def smtp_source(port, n_messages, n_connections, n_bytes):
    """Postfix's load generator, one connection a session kept (-d): messages in a second."""
    began = time.monotonic()
    subprocess.run(
        ["smtp-source", "-d", "-s", str(n_connections), "-l", str(n_bytes), "-m", str(n_messages),
         "-f", "news@sender.test", "-t", "reader@example.test", f"127.0.0.1:{port}"],
        check=True, stdin=subprocess.DEVNULL)
    return n_messages / (time.monotonic() - began)


def signing_loop(program, seconds):
    """RSA-2048 signatures in a second, on all cores at once."""
    done = subprocess.run([program, str(seconds)], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return float(done.stdout)


class Clock:
    """A sink that writes down when each MAIL FROM came; for rates that Python keeps up with."""

    def __init__(self, port):
        self.times = []
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb") as lines:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(b"220 clock\r\n")
                for line in lines:
                    verb = line[:4].upper()
                    if verb == b"MAIL":
                        self.times.append(time.monotonic())
                    if verb == b"DATA":
                        connection.sendall(b"354 go on\r\n")
                        while lines.readline() not in (b".\r\n", b""):
                            pass
                    connection.sendall(b"250-clock\r\n250 PIPELINING\r\n" if verb == b"EHLO"
                                       else b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
        except OSError:
            pass

    def busiest(self, seconds):
        """Most of them in any span of so many seconds."""
        times, first, most = sorted(self.times), 0, 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


class Delay:
    """A proxy on a port that hands every byte on so many seconds after it came, each way."""

    def __init__(self, to_port, seconds):
        self.to_port, self.seconds = to_port, seconds
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to_port))
            for side in (near, far):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((near, far), (far, near)):
                self._pump(source, sink)

    def _pump(self, source, sink):
        line = queue.SimpleQueue()

        def read():
            data = b"-"
            while data:
                try:
                    data = source.recv(65536)
                except OSError:
                    data = b""
                line.put((time.monotonic() + self.seconds, data))

        def write():
            while True:
                due, data = line.get()
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
                except OSError:
                    return

        for act in (read, write):
            threading.Thread(target=act, daemon=True).start()
