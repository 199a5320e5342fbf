"""Airflow's REST API, as far as tasks use it."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Api:
    """As much of Airflow's API server as is used: log-in, and connections and runs of DAGs in memory."""

    def __init__(self):
        self.connections = {}
        self.runs = []
        self.requests = []
        self.logins = {"ada": "lovelace"}
        self.failures = []
        """Statuses with which the next requests are answered; 0 for none at all."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                api.requests.append(f"{self.command} {self.path}")
                if api.failures:
                    status, payload = api.failures.pop(0), {"detail": "of the moment"}
                    if not status:
                        self.connection.close()
                        return
                else:
                    status, payload = api.handle(self.command, self.path, self.headers, body)
                data = json.dumps(payload).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - as the base class calls them

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def handle(self, method, path, headers, body):
        if path == "/auth/token":
            if method != "POST":
                return 403, {"detail": "login is needed"}
            right = self.logins.get(body["username"]) == body["password"]
            return (201, {"access_token": "good"}) if right else (401, {"detail": "Invalid credentials"})
        if headers["Authorization"] == "Bearer viewer":
            return 403, {"detail": "Forbidden"}
        if headers["Authorization"] != "Bearer good":
            return 401, {"detail": "Invalid JWT token"}
        if "/dagRuns" in path:
            return self._runs(method, path, body)
        if method == "POST":
            if body["connection_id"] in self.connections:
                return 409, {"detail": "exists"}
            if "bad" in body:
                return 422, {"detail": [{"loc": ["body", "bad"], "msg": "is not known", "input": body}]}
            self.connections[body["connection_id"]] = body
            return 201, body
        name = path.rpartition("/")[2]
        if name not in self.connections:
            return 404, {"detail": "not found"}
        if method == "PATCH":
            self.connections[name] = body
        elif method == "DELETE":
            return 200, self.connections.pop(name)
        return 200, {**self.connections[name], "password": "***"}

    def _runs(self, method, path, body):
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        _, dag_id, _, *run_id = [unquote(part) for part in parts.path.removeprefix("/api/v2/").split("/")]
        known = [run for run in self.runs if run["dag_id"] == dag_id]
        if method == "PATCH":
            (found,) = [run for run in known if run["dag_run_id"] == run_id[0]] or [None]
            if found is None:
                return 404, {"detail": "not found"}
            if len(body["note"]) > 1000 or query["update_mask"] != ["note"]:
                return 422, {"detail": "String should have at most 1000 characters"}
            found |= body
            return 200, found
        if not known:
            return 404, {"detail": f"The DAG with ID: `{dag_id}` was not found"}
        active = [run for run in known if run["state"] in query["state"]]
        first = int(query["offset"][0])
        return 200, {"dag_runs": active[first : first + int(query["limit"][0])], "total_entries": len(active)}
