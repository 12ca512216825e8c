"""wait_for, uri, get_url: a real server on the loopback, asked by a real agent."""

import hashlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labctl.events import Status


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_args):
        pass

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        if self.path == "/json":
            self._answer(200, b'{"step": 3}', Content_Type="application/json", X_Thing="yes")
        elif self.path == "/moved":
            self._answer(302, Location="/json")
        elif self.path == "/file.bin":
            self._answer(200, b"\0data")
        elif self.path == "/busy":
            self._answer(503, b"later")
        else:
            self._answer(404, b"nothing here")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815


@pytest.fixture(scope="module")
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.seen = []
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield http
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def url(server):
    server.seen.clear()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class TestUri:
    def test_get(self, task, url):
        for check in (False, True):
            result = task("uri", url=f"{url}/json", return_content=True, check=check)
            values = result.values
            assert result.status is Status.OK
            assert (values["status"], values["json"], values["content"]) == (200, {"step": 3}, '{"step": 3}')
            assert (values["x_thing"], values["content_type"]) == ("yes", "application/json")
            assert task.trips == 1

    def test_a_status_that_was_not_expected(self, task, url):
        result = task("uri", url=f"{url}/nope", return_content=True)
        assert result.status is Status.FAILED
        assert (result.values["status"], result.values["content"]) == (404, "nothing here")
        assert "404" in result.values["msg"]
        assert task("uri", url=f"{url}/nope", status_code=[200, 404]).status is Status.OK

    def test_nothing_listens(self, task, closed_port):
        result = task("uri", url=f"http://127.0.0.1:{closed_port}/")
        assert (result.status, result.values["status"]) == (Status.FAILED, -1)
        assert "refused" in result.values["msg"]

    def test_post_json(self, task, url, server):
        given = {"url": f"{url}/json", "method": "post", "body": {"a": 1}, "body_format": "json"}
        assert task("uri", **given, check=True).status is Status.UNKNOWN
        assert server.seen == []
        result = task(
            "uri", **given, headers={"X-A": 5}, url_username="u", url_password="p", force_basic_auth=True
        )
        assert result.status is Status.OK
        method, _, headers, body = server.seen[0]
        assert (method, json.loads(body), headers["X-A"]) == ("POST", {"a": 1}, "5")
        assert headers["Content-Type"] == "application/json"
        assert headers["Authorization"] == "Basic dTpw"

    def test_form(self, task, url, server):
        body = {"a": "b c", "d": [1, 2]}
        task("uri", url=f"{url}/json", method="PUT", body=body, body_format="form-urlencoded")
        assert server.seen[0][3] == b"a=b+c&d=1&d=2"

    def test_redirects(self, task, url):
        followed = task("uri", url=f"{url}/moved")
        assert (followed.values["redirected"], followed.values["url"]) == (True, f"{url}/json")
        kept = task("uri", url=f"{url}/moved", follow_redirects="none", status_code=302)
        assert (kept.status, kept.values["location"]) == (Status.OK, f"{url}/json")

    def test_creates(self, task, url, server):
        assert task("uri", url=f"{url}/json", creates="/etc/pass*").status is Status.OK
        assert server.seen == []


class TestGetUrl:
    def test_download(self, task, url, tmp_path, server):
        path = tmp_path / "f"
        assert task("get_url", url=f"{url}/file.bin", dest=str(path), check=True).status is Status.CHANGED
        assert server.seen == []
        result = task("get_url", url=f"{url}/file.bin", dest=str(path), mode="0600")
        assert (result.status, path.read_bytes(), result.values["mode"]) == (
            Status.CHANGED,
            b"\0data",
            "0600",
        )
        assert task("get_url", url=f"{url}/file.bin", dest=str(path)).status is Status.OK
        assert "If-Modified-Since" in server.seen[1][2]
        assert task("get_url", url=f"{url}/file.bin", dest=str(path), force=True).status is Status.OK
        assert task("get_url", url=f"{url}/file.bin", dest=f"{tmp_path}/").values["dest"] == str(
            tmp_path / "file.bin"
        )

    def test_checksum(self, task, url, tmp_path):
        path = tmp_path / "f"
        path.write_text("old")
        right = "sha256:" + hashlib.sha256(b"\0data").hexdigest()
        wrong = task("get_url", url=f"{url}/file.bin", dest=str(path), checksum="sha256:" + "0" * 64)
        assert wrong.status is Status.FAILED
        assert path.read_text() == "old"
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f", "playbook"]
        assert task("get_url", url=f"{url}/file.bin", dest=str(path), checksum=right).status is Status.CHANGED
        assert task("get_url", url=f"{url}/file.bin", dest=str(path), checksum=right).status is Status.OK

    def test_failure(self, task, url, tmp_path):
        result = task("get_url", url=f"{url}/nope", dest=f"{tmp_path}/f")
        assert (result.status, "404" in result.values["msg"]) == (Status.FAILED, True)


class TestWaitFor:
    def test_a_port_that_answers(self, task, server):
        result = task("wait_for", port=server.server_port)
        assert (result.status, result.values["state"]) == (Status.OK, "started")
        assert task.trips == 1

    def test_a_port_that_opens_later(self, task, closed_port):
        opened = []

        def open_it():
            opened.append(socket.create_server(("127.0.0.1", closed_port)))

        timer = threading.Timer(0.3, open_it)
        timer.start()
        try:
            result = task("wait_for", port=closed_port, sleep=0.05, timeout=20)
        finally:
            timer.join()
            opened[0].close()
        assert result.status is Status.OK
        assert task.trips == 1

    def test_a_dry_run_gives_a_slow_server_time_for_its_first_words(self, task):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def greet():
                connection, _ = server.accept()
                with connection:
                    threading.Event().wait(0.3)
                    connection.sendall(b"SSH-2.0-OpenSSH\r\n")

            thread = threading.Thread(target=greet)
            thread.start()
            result = task("wait_for", port=server.getsockname()[1], search_regex="OpenSSH", check=True)
            thread.join()
        assert result.status is Status.OK

    def test_a_regular_expression_that_is_none(self, task, closed_port):
        result = task("wait_for", port=closed_port, search_regex="(open")
        assert (result.status, task.trips) == (Status.FAILED, 0)
        assert "'(open' is not a regular expression" in result.values["msg"]

    def test_it_does_not_happen(self, task, closed_port):
        result = task("wait_for", port=closed_port, sleep=0.01, timeout=0.1)
        assert result.status is Status.FAILED
        assert "timed out" in result.values["msg"]
        assert "Connection refused" in result.values["msg"]
        assert task("wait_for", port=closed_port, timeout=0.01, msg="told you").values["msg"] == "told you"

    def test_stopped(self, task, closed_port, server):
        assert task("wait_for", port=closed_port, state="stopped").status is Status.OK
        late = task("wait_for", port=server.server_port, state="stopped", timeout=0.05)
        assert (late.status, "still answers" in late.values["msg"]) == (Status.FAILED, True)

    def test_what_a_port_says(self, task):
        with socket.create_server(("127.0.0.1", 0)) as one:

            def greet():
                for _ in range(2):
                    connection, _ = one.accept()
                    with connection:
                        connection.sendall(b"SSH-2.0-test 42\r\n")

            thread = threading.Thread(target=greet)
            thread.start()
            port = one.getsockname()[1]
            good = task("wait_for", port=port, search_regex=r"SSH-(?P<version>\S+)-test (\d+)", timeout=5)
            bad = task("wait_for", port=port, search_regex="FTP", timeout=0.2)
            thread.join()
        assert good.values["match_groups"] == ["2.0", "42"]
        assert good.values["match_groupdict"] == {"version": "2.0"}
        assert bad.status is Status.FAILED

    def test_drained(self, task):
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
            client = socket.create_connection(("127.0.0.1", port))
            served, _ = one.accept()
            busy = task("wait_for", port=port, state="drained", timeout=0.05)
            assert (busy.status, "1 connections" in busy.values["msg"]) == (Status.FAILED, True)
            kept = {"port": port, "state": "drained", "timeout": 0.05}
            assert task("wait_for", **kept, exclude_hosts=["127.0.0.1"]).status is Status.OK
            client.close()
            served.close()
            assert task("wait_for", port=port, state="drained", timeout=5, sleep=0.05).status is Status.OK

    def test_paths(self, task, tmp_path):
        path = tmp_path / "f"
        assert task("wait_for", path=str(path), state="absent").status is Status.OK
        timer = threading.Timer(0.2, lambda: path.write_text("step 12\ndone\n"))
        timer.start()
        given = {"path": str(path), "search_regex": "^step (\\d+)$", "sleep": 0.05, "timeout": 20}
        result = task("wait_for", **given)
        timer.join()
        assert result.values["match_groups"] == ["12"]
        assert task("wait_for", path=str(path), search_regex="never", timeout=0.05).status is Status.FAILED

    def test_dry_run_looks_once(self, task, closed_port, server):
        assert task("wait_for", port=server.server_port, check=True).status is Status.OK
        result = task("wait_for", port=closed_port, timeout=300, check=True)
        assert (result.status, "does not wait" in result.unknown) == (Status.UNKNOWN, True)

    def test_nothing_but_time(self, task):
        assert task("wait_for", timeout=7).status is Status.OK
        assert task.ctx.waited == 7
