"""The generic task types on real nodes, over SSH: twice, in a dry run, as another user, on a full disk, without Python."""

from __future__ import annotations

import json
import textwrap

import pytest

HOME = "/root/generic-test"

PLAYBOOK = f"""
    - hosts: worker1,worker2
      vars: {{home: {HOME}, listen: [80, 443]}}
      tasks:
        - {{name: folder, file: {{path: "{{{{ home }}}}/sub", state: directory, mode: "0750"}}}}
        - {{name: text, copy: {{content: "{{{{ inventory_hostname }}}}\\n", dest: "{{{{ home }}}}/text", mode: "0600"}}}}
        - {{name: tree, copy: {{src: tree/, dest: "{{{{ home }}}}/tree", mode: preserve}}}}
        - {{name: config, template: {{src: app.conf.j2, dest: "{{{{ home }}}}/app.conf", validate: "grep -q listen %s"}}}}
        - {{name: line, lineinfile: {{path: "{{{{ home }}}}/app.conf", regexp: "^user", line: "user www"}}}}
        - {{name: link, file: {{path: "{{{{ home }}}}/link", src: text, state: link}}}}
        - {{name: once, command: "touch {{{{ home }}}}/made", args: {{creates: "{{{{ home }}}}/made"}}}}
        - {{name: ssh, wait_for: {{port: 22, search_regex: "OpenSSH", timeout: 20}}}}
        - {{name: look, stat: {{path: "{{{{ home }}}}/text"}}, register: seen}}
        - {{name: bring, fetch: {{src: "{{{{ home }}}}/text", dest: fetched}}}}
        - {{name: right, assert: {{that: ["seen.stat.mode == '0600'", "seen.stat.size == 8"]}}, when: not ansible_check_mode}}
    """


@pytest.fixture
def run(labctl, inventory_file, tmp_path):
    """`run(text, *options)`: {(task, host): result data} of a playbook's text, and the finished process."""

    def call(text: str, *options: object):
        (tmp_path / "site.yml").write_text(textwrap.dedent(text))
        done = labctl("run", "site.yml", "-i", inventory_file, "--output", "json", *options, cwd=tmp_path)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        results = {(e["task"], e["host"]): e["data"] for e in events if e["event"] == "result"}
        assert results, done.stdout + done.stderr
        return results, done

    return call


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "files/tree/bin").mkdir(parents=True)
    (tmp_path / "files/tree/bin/tool").write_text("#!/bin/sh\n")
    (tmp_path / "files/tree/bin/tool").chmod(0o755)
    (tmp_path / "files/tree/readme").write_text("read me\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/app.conf.j2").write_text(
        "{% for port in listen %}\nlisten {{ port }}\n{% endfor %}\nuser www\n"
    )
    (tmp_path / "files/hello.sh").write_text('#!/bin/sh\necho "$1 from $(hostname)"\n')


@pytest.fixture(autouse=True)
def clean(node):
    yield
    for name in ("worker1", "worker2"):
        node(name).remove(HOME)


def listing(node) -> str:
    script = f"find /root /etc /usr/local -xdev ! -path '*/.cache/*' -printf '%p %m %s %T@\\n' | sort; ls -la {HOME} 2>&1"
    return "".join(node(name).run(["/bin/sh", "-c", script]).text() for name in ("worker1", "worker2"))


def statuses(results, host="worker1"):
    return {task: event["status"] for (task, name), event in results.items() if name == host}


@pytest.mark.usefixtures("sources")
def test_twice_and_dry(run, node, tmp_path):
    before = listing(node)
    dry, done = run(PLAYBOOK, "--dry-run", "--diff")
    assert listing(node) == before
    assert not (tmp_path / "fetched").exists()
    assert dry["text", "worker1"]["diff"][0]["after"] == "worker1\n"
    assert statuses(dry)["folder"] == statuses(dry)["tree"] == "changed"
    assert statuses(dry)["once"] == "unknown"
    assert "Traceback" not in done.stdout + done.stderr

    first, done = run(PLAYBOOK)
    assert done.returncode == 0, done.stdout + done.stderr
    changed = {"folder", "text", "tree", "config", "link", "once", "bring"}
    assert {task for task, status in statuses(first).items() if status == "changed"} == changed
    worker = node("worker2")
    assert worker.read(f"{HOME}/text") == b"worker2\n"
    assert worker.read(f"{HOME}/app.conf") == b"listen 80\nlisten 443\nuser www\n"
    assert worker.stat(f"{HOME}/tree/bin/tool").mode == 0o755
    assert worker.stat(f"{HOME}/link").target == "text"
    assert (tmp_path / f"fetched/worker2/{HOME}/text").read_text() == "worker2\n"

    second, done = run(PLAYBOOK)
    assert set(statuses(second).values()) == {"ok"}
    assert set(statuses(second, "worker2").values()) == {"ok"}
    again, _ = run(PLAYBOOK, "--dry-run")
    assert set(statuses(again).values()) <= {"ok", "skipped"}


@pytest.mark.usefixtures("sources")
def test_raw_and_script_need_no_python(run, node):
    text = """
        - hosts: worker1
          gather_facts: false
          vars: {ansible_python_interpreter: /no/such/python}
          tasks:
            - {name: raw, raw: "echo $GREETING; exit 3", environment: {GREETING: hello}, register: r, failed_when: r.rc != 3}
            - {name: script, script: "hello.sh 'good day'"}
            - {name: ping, ping: }
        """
    results, done = run(text)
    assert results["raw", "worker1"]["result"]["stdout"] == "hello\n"
    assert results["script", "worker1"]["result"]["stdout"] == "good day from worker1"
    assert results["ping", "worker1"]["status"] == "unreachable"
    assert done.returncode == 4
    assert "No such file" in node("worker1").run(["/bin/sh", "-c", "ls /tmp/labctl-script.*"]).error_text()
    assert "Traceback" not in done.stdout + done.stderr


def test_a_full_disk_is_one_clear_message_and_leaves_the_old_file(run, node):
    worker = node("worker1")
    worker.mkdir(f"{HOME}/small")
    mounted = worker.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", f"{HOME}/small"])
    assert mounted.rc == 0, mounted.error_text()
    try:
        worker.write(f"{HOME}/small/file", b"old\n")
        text = f"""
            - hosts: worker1
              gather_facts: false
              tasks:
                - {{name: fill, copy: {{content: "{{{{ 'x' * 200000 }}}}", dest: {HOME}/small/file}}}}
            """
        results, done = run(text)
        assert done.returncode == 2
        assert "no space left" in results["fill", "worker1"]["result"]["msg"].lower()
        assert worker.read(f"{HOME}/small/file") == b"old\n"
        assert [entry.path for entry in worker.list(f"{HOME}/small")] == [f"{HOME}/small/file"]
        assert "Traceback" not in done.stdout + done.stderr
    finally:
        worker.run(["umount", f"{HOME}/small"])


def test_a_task_waits_for_what_another_node_does(run, node):
    text = f"""
        - hosts: worker1
          gather_facts: false
          tasks:
            - {{name: later, shell: "nohup sh -c 'sleep 1; echo ready 7 > {HOME}.flag' >/dev/null 2>&1 &"}}
            - name: wait
              wait_for: {{path: {HOME}.flag, search_regex: 'ready (\\d+)', sleep: 0.1, timeout: 30}}
              register: w
            - {{name: gone, file: {{path: {HOME}.flag, state: absent}}}}
            - {{name: absent, wait_for: {{path: {HOME}.flag, state: absent}}}}
            - {{name: ask, uri: {{url: "http://127.0.0.1:9/", timeout: 2}}, register: u, failed_when: u.status != -1}}
            - {{name: right, assert: {{that: "w.match_groups == ['7']"}}}}
        """
    results, done = run(text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(results)["wait"] == "ok"
