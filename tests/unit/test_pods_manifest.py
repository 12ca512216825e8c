"""Pod manifests: quantities, patches, and every error at its position."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labctl.errors import PlaybookError
from labctl.pods.manifest import load_pod, merge
from labctl.pods.model import Readiness
from labctl.pods.quantity import millicores, size_bytes

ROOT = Path(__file__).resolve().parents[2]
GOOD = """\
apiVersion: v1
kind: Pod
metadata:
  name: demo
  annotations: {labctl/stateful: "one"}
spec:
  restartPolicy: Never
  containers:
    - name: one
      image: a:1
      command: [run]
      ports: [{name: http, containerPort: 8080}]
      resources: {requests: {cpu: 100m}, limits: {cpu: 1.5, memory: 256Mi}}
      volumeMounts: [{name: state, mountPath: /state}]
      readinessProbe: {httpGet: {path: /healthz, port: http}}
  volumes:
    - {name: state, persistentVolumeClaim: {claimName: data}}
    - {name: own, emptyDir: {}}
"""


@pytest.fixture
def load(tmp_path):
    def call(text: str = GOOD, **more):
        path = tmp_path / "pod.yml"
        path.write_text(text)
        return load_pod(path, **more)

    return call


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", 500), ("1.5", 1500), (2, 2000), (0.1, 100), ("0.0001", 1), ("1e-1", 100), ("1k", 1000000)],
)
def test_millicores(text, value) -> None:
    assert millicores(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("256Mi", 256 << 20),
        ("1G", 10**9),
        ("1.5Gi", 3 << 29),
        (1024, 1024),
        ("1e3", 1000),
        ("1500m", 2),
        ("2Ki", 2048),
    ],
)
def test_size_bytes(text, value) -> None:
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "x", "1Q", "256MB", "-1", "1 Gi", True, None, "1e", "Mi"])
def test_not_a_quantity(text) -> None:
    with pytest.raises(ValueError, match=r"quantity|suffix"):
        size_bytes(text)


def test_all_that_is_read(load) -> None:
    pod = load(address="10.0.0.9")
    one = pod.container("one")
    assert (one.resources.cpu_request, one.resources.cpu_limit, one.resources.memory_limit) == (
        100,
        1500,
        256 << 20,
    )
    assert one.readiness == Readiness(8080, "/healthz")
    assert (pod.address, pod.url("/p"), pod.claim) == ("10.0.0.9", "http://10.0.0.9:8080/p", "data")
    assert pod.stateful == ("one",)
    assert pod.grace_seconds == 30


def test_workload_manifest() -> None:
    pod = load_pod(ROOT / "workloads/training-pod/pod.yml")
    assert [c.name for c in pod.containers] == ["tensorflow-trainer", "data-processor", "model-monitor"]
    assert pod.stateful == ("tensorflow-trainer",)
    assert pod.restart_policy == "Never"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("image: a:1", "imgae: a:1", 10, "'imgae'.*\n.*\n.*\nhint: did you mean 'image'"),
        ("image: a:1", "image: a:1\n      securityContext: {}", 11, "do not support 'securityContext'"),
        ("cpu: 100m", "cpu: 100mm", 13, "unknown suffix 'mm'"),
        ("cpu: 100m", "cpu: 2", 13, "the request is above the limit"),
        (
            "name: state, mountPath",
            "name: stat, mountPath",
            14,
            "no volume 'stat'.*\n.*\n.*\nhint: did you mean 'state'",
        ),
        ("port: http", "port: htp", 15, "no port 'htp'"),
        ("name: demo", "name: De_mo", 4, "is not a name"),
        ("kind: Pod", "kind: Pood", 2, "kind Pod"),
        ("restartPolicy: Never", "restartPolicy: Sometimes", 7, "Always, OnFailure or Never"),
        ('"one"', '"two"', 5, "labctl/stateful names 'two'"),
        ("command: [run]", "command: [run, 1]", 11, "list of strings"),
        ("command: [run]", "args: [x]", 11, "need a 'command'"),
        ("emptyDir: {}", "configMap: {}", 18, "do not support 'configMap'"),
        ("persistentVolumeClaim: {claimName: data}", "nothing: 1", 17, "no field 'nothing'"),
    ],
)
def test_errors_have_a_position(load, old, new, line, words) -> None:
    assert old in GOOD
    with pytest.raises(PlaybookError) as caught:
        load(GOOD.replace(old, new, 1))
    assert caught.value.mark is not None
    assert caught.value.mark.line == line
    assert re.search(words, caught.value.report(), re.DOTALL)


def test_value_that_is_not_an_address(load) -> None:
    with pytest.raises(PlaybookError, match="not an IPv4 address"):
        load(address="worker1")


def test_patch_merges_by_name() -> None:
    base = {
        "c": [
            {"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b"},
        ],
        "l": [1, 2],
        "gone": 1,
    }
    patch = {
        "c": [{"name": "a", "env": [{"name": "X", "value": "9"}]}, {"name": "new"}],
        "l": [3],
        "gone": None,
    }
    assert merge(base, patch) == {
        "c": [
            {"name": "a", "env": [{"name": "X", "value": "9"}, {"name": "Y", "value": "2"}]},
            {"name": "b"},
            {"name": "new"},
        ],
        "l": [3],
    }
    assert base["c"][0]["env"][0]["value"] == "1"


def test_patch_keeps_positions(load) -> None:
    with pytest.raises(PlaybookError) as caught:
        load(GOOD.replace("cpu: 100m", "cpu: wrong"), patch={"metadata": {"labels": {"a": "b"}}})
    assert caught.value.mark.line == 13
