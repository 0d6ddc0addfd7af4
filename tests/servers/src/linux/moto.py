"""Runs moto's S3 server, made as atomic as S3: `moto.py PORT open|signed FILE`.

moto answers requests in parallel and checks a condition apart from the write that depends on it, so
two conditional writes can both succeed. Here its application handles one request at a time, while the
server accepts connections in parallel as before.

A "signed" server verifies signatures. FILE gets the URL, with the key of a user who may do everything.

Two buckets stand for endpoints that ignore conditions.
"""

import json
import sys
import threading
from urllib.parse import quote

from moto import backends, server, settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

IGNORES = {
    "ignores-conditions": ["PUT", "DELETE"],
    "ignores-conditional-deletes": ["DELETE"],
}
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
# Looked up in the file system for every request otherwise, which takes a third of its time.
MODULES = list(backends.list_of_moto_modules())
serve = server.run_simple
lock = threading.Lock()


def one_at_a_time(host, port, app, **options):
    def handle(environ, start_response):
        bucket = environ["PATH_INFO"].split("/")[1]
        if environ["REQUEST_METHOD"] in IGNORES.get(bucket, []):
            environ.pop("HTTP_IF_MATCH", None)
            environ.pop("HTTP_IF_NONE_MATCH", None)
        with lock:
            return list(app(environ, start_response))

    serve(host, port, handle, **options)


def credentials(kind):
    if kind == "open":
        return "key", "secret"
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    iam.create_user("us-east-1", "app")
    iam.put_user_policy("app", "all", json.dumps(EVERYTHING))
    key = iam.create_access_key("app")
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    return key.access_key_id, key.secret_access_key


port, kind, file = sys.argv[1:]
key, secret = (quote(word, safe="") for word in credentials(kind))
with open(file, "w") as url:
    address = f"127.0.0.1:{port}"
    url.write(f"s3://{key}:{secret}@{address}/mocha-session-test?endpoint=http://{address}&region=us-east-1")

backends.list_of_moto_modules = lambda: MODULES
server.run_simple = one_at_a_time
server.main(["-H", "127.0.0.1", "-p", port])
