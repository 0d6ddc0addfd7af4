"""Runs moto's S3 server, made as atomic as S3.

moto answers requests in parallel and checks a condition apart from the write that depends on it, so
two conditional writes can both succeed. Here its application handles one request at a time, while the
server accepts connections in parallel as before.

Two buckets stand for endpoints that ignore conditions.
"""

import threading

from moto import backends, server

IGNORES = {
    "ignores-conditions": ["PUT", "DELETE"],
    "ignores-conditional-deletes": ["DELETE"],
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


backends.list_of_moto_modules = lambda: MODULES
server.run_simple = one_at_a_time
server.main()
