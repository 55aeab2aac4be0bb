"""Receives callbacks over TLS and verifies each with the official Standard
Webhooks library: the receiver of verify/contract/README.md.
"""

import os
import ssl
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError


def verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Prints the event's id and, for each secret, whether it verifies the
        callback and refuses it with a byte more."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        line = [headers["webhook-id"]]
        for secret in Path(os.environ["SECRETS"]).read_text().split():
            line += [str(verifies(secret, b, headers)).lower() for b in (body, body + b" ")]
        self.send_response(204)
        self.end_headers()
        print(*line, flush=True)

    def log_message(self, format: str, *args: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
