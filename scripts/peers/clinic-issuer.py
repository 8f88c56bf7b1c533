"""Canaille, an identity provider in Python (Flask and Authlib), with one person, in memory.

    clinic-issuer.py PORT REDIRECT_URI

A line on standard input, answered by a line: `groups NAME…` (those she is in from now on), `rotate` (a new key to sign with, the old one gone).
"""
import secrets
import sys
import threading

from canaille import create_app
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

port, redirect_uri = int(sys.argv[1]), sys.argv[2]
console = redirect_uri.split("/api/")[0]


def new_key():
    key = RSAKey.generate_key(2048, parameters={"kid": secrets.token_hex(8)}, private=True)
    return {name: value for name, value in key.as_dict(private=True).items() if isinstance(value, str)}


app = create_app(
    {
        "SECRET_KEY": secrets.token_hex(),
        "SERVER_NAME": f"127.0.0.1:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "DEBUG": True,
        "CANAILLE": {"DATABASE": "memory", "TIMEZONE": "UTC", "JAVASCRIPT": False, "LOGGING": {"version": 1}},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [new_key()]},
    }
)


def put_into(names):
    from canaille.app import models

    with app.app_context():
        backend = app.backend
        ida = backend.get(models.User, user_name="ida")
        for group in backend.query(models.Group):
            backend.delete(group)
        for name in names:
            backend.save(models.Group(display_name=name, members=[ida]))


with app.app_context():
    from canaille.app import models

    ida = models.User(
        user_name="ida",
        formatted_name="Ida Frank",
        family_name="Frank",
        emails=["ida@clinic.example"],
        password="four walnuts under a lamp",
    )
    app.backend.save(ida)
    client = models.Client(
        client_id="pacs-console",
        client_name="Nephos",
        client_uri=console,
        redirect_uris=[redirect_uri],
        post_logout_redirect_uris=[f"{console}/"],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        scope=["openid", "profile", "groups", "offline_access"],
        token_endpoint_auth_method="none",
    )
    app.backend.save(client)
    # Its ID tokens name whom the client is allowed to talk to: itself.
    client.audience = [client]
    app.backend.save(client)

threading.Thread(target=make_server("127.0.0.1", port, app, threaded=True).serve_forever, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    command, *words = line.split()
    if command == "groups":
        put_into(words)
    elif command == "rotate":
        app.config["CANAILLE_OIDC"]["ACTIVE_JWKS"] = [new_key()]
    print("done", flush=True)
