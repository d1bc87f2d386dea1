#!/usr/bin/env python3
"""A Python program behind `outlast run`: takes its socket from LISTEN_FDS, says READY=1, finishes its requests on SIGTERM.

  outlast run --listen=tcp://127.0.0.1:8080 --ready=notify -- python3 server.py

Three things make it lose nothing: the socket does not block, because the old process may be quicker to accept a
connection that both have seen; SIGTERM ends the loop and not the process; the threads of requests are waited for."""
import http.server
import os
import signal
import socket
import threading

FIRST_FD = 3


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def notify(text):
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(text.encode(), name.replace("@", "\0", 1))


def main():
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise SystemExit("start me with: outlast run --listen=tcp://127.0.0.1:8080 --ready=notify -- python3 server.py")
    server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=FIRST_FD)
    server.socket.setblocking(False)
    server.daemon_threads = False
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    notify("READY=1")
    server.serve_forever(poll_interval=0.05)
    server.server_close()


main()
