"""Git checkouts of a node: how they stand to what is wanted, and bringing them there with the node's git.

`wanted` are the arguments of the `git` task by their names."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import subprocess
from typing import Any, Callable, Dict, List, Optional

Found = Dict[str, Any]
_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?$")


class Failed(Exception):
    """A git command that failed: what it said, and the values a task returns of it."""


class Repository:
    """One checkout (or bare repository) and the git that works on it."""

    def __init__(self, wanted: Found) -> None:
        self.wanted = wanted
        git = wanted.get("executable") or shutil.which("git")
        if not git:
            raise OSError(errno.ENOENT, "there is no 'git' on this node")
        self.git = git
        self.dest = wanted["dest"]
        repo = os.path.expanduser(wanted["repo"])
        self.repo = "file://" + repo if repo.startswith("/") else wanted["repo"]
        self.remote = wanted["remote"]
        self.version = wanted["version"]
        self.env = dict(os.environ, LC_ALL="C", LANG="C", GIT_TERMINAL_PROMPT="0")
        self.env.update(wanted.get("environment") or {})
        ssh = [wanted["ssh_opts"]] if wanted["ssh_opts"] else []
        if wanted["key_file"]:
            ssh.append("-i %s -o IdentitiesOnly=yes" % shlex.quote(os.path.expanduser(wanted["key_file"])))
        if ssh or "GIT_SSH_COMMAND" not in self.env:
            self.env["GIT_SSH_COMMAND"] = " ".join(["ssh", "-o BatchMode=yes", *ssh])

    def run(
        self, *words: str, at: Optional[str] = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        argv = [self.git, *words]
        if self.wanted.get("umask"):
            argv = ["/bin/sh", "-c", 'umask "$0"; exec "$@"', self.wanted["umask"], *argv]
        done = subprocess.run(
            argv,
            cwd=at,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
            env=self.env,
            check=False,
        )
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise Failed(
                "git %s failed: %s" % (words[0], said[-2000:]),
                {
                    "cmd": " ".join([self.git, *words]),
                    "rc": done.returncode,
                    "stdout": done.stdout,
                    "stdout_lines": done.stdout.splitlines(),
                    "stderr": done.stderr,
                    "stderr_lines": done.stderr.splitlines(),
                },
            )
        return done

    def here(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.run(*words, at=self.dest, check=check)

    def is_there(self) -> bool:
        if not self.dest:
            return False
        place = self.dest if self.wanted["bare"] else os.path.join(self.dest, ".git")
        return os.path.isfile(place) or os.path.exists(os.path.join(place, "config"))

    def head(self) -> Optional[str]:
        done = self.here("rev-parse", "HEAD", check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def modified(self) -> bool:
        if self.wanted["bare"]:
            return False
        lines = self.here("status", "--porcelain", check=False).stdout.splitlines()
        return any(not line.startswith("??") for line in lines)

    def url(self) -> str:
        return self.here("config", "--get", "remote.%s.url" % self.remote, check=False).stdout.strip()

    def remote_head(self, source: str, at: Optional[str]) -> Optional[str]:
        """What `version` is on the remote; None when it does not say (an abbreviated commit)."""
        if _SHA.match(self.version):
            return str(self.version)
        done = self.run("ls-remote", source, at=at)
        refs = {}
        for line in done.stdout.splitlines():
            sha, _, name = line.partition("\t")
            refs[name] = sha
        names = ["HEAD"] if self.version == "HEAD" else []
        names += [
            "refs/heads/" + self.version,
            "refs/tags/%s^{}" % self.version,
            "refs/tags/" + self.version,
            self.version,
        ]
        return next((refs[name] for name in names if name in refs), None)

    def is_remote_branch(self, name: str) -> bool:
        return (
            self.here(
                "rev-parse", "--verify", "-q", "refs/remotes/%s/%s" % (self.remote, name), check=False
            ).returncode
            == 0
        )

    def default_branch(self) -> Optional[str]:
        prefix = "refs/remotes/%s/" % self.remote
        done = self.here("symbolic-ref", "-q", prefix + "HEAD", check=False)
        if done.returncode:
            self.here("remote", "set-head", self.remote, "--auto", check=False)
            done = self.here("symbolic-ref", "-q", prefix + "HEAD", check=False)
        name = done.stdout.strip()
        return name[len(prefix) :] if name.startswith(prefix) else None

    def submodules(self) -> List[str]:
        """The submodules that are not at the commit they should be."""
        if self.wanted["bare"] or not self.wanted["recursive"]:
            return []
        if not os.path.exists(os.path.join(self.dest, ".gitmodules")):
            return []
        lines = self.here("submodule", "status", "--recursive", check=False).stdout.splitlines()
        return [line.split()[1] for line in lines if line[:1] in "-+U" and len(line.split()) > 1]

    # ---------------------------------------------------------- changing

    def clone(self) -> None:
        wanted = self.wanted
        parent = os.path.dirname(self.dest.rstrip("/"))
        if parent:
            os.makedirs(parent, exist_ok=True)
        words = ["clone", "--bare"] if wanted["bare"] else ["clone", "--origin", self.remote]
        version_is_ref = False
        if self.version != "HEAD" and not _SHA.match(self.version):
            done = self.run("ls-remote", "--heads", "--tags", self.repo, self.version)
            version_is_ref = bool(done.stdout.strip())
        if wanted["depth"] and (version_is_ref or self.version == "HEAD" or wanted["refspec"]):
            words += ["--depth", str(wanted["depth"])]
        if version_is_ref and (wanted["depth"] or wanted["single_branch"]) and not wanted["bare"]:
            words += ["--branch", self.version]
        if wanted["single_branch"]:
            words.append("--single-branch")
        if wanted["reference"]:
            words += ["--reference", wanted["reference"]]
        if wanted["separate_git_dir"]:
            words.append("--separate-git-dir=" + wanted["separate_git_dir"])
        self.run(*words, self.repo, self.dest)
        if wanted["bare"] and self.remote != "origin":
            self.here("remote", "add", self.remote, self.repo, check=False)
        if wanted["refspec"]:
            self.fetch()

    def fetch(self) -> None:
        wanted = self.wanted
        words = ["fetch", "--force"] if wanted["force"] else ["fetch"]
        refspecs = [wanted["refspec"]] if wanted["refspec"] else []
        if wanted["depth"] and not _SHA.match(self.version):
            words += ["--depth", str(wanted["depth"])]
        if wanted["bare"]:
            refspecs += ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
            self.here(*words, self.remote, *refspecs)
            return
        self.here(*words, "--tags", self.remote)
        if refspecs:
            self.here(*words, self.remote, *refspecs)
        if _SHA.match(self.version) and self.here("cat-file", "-e", self.version, check=False).returncode:
            self.here("fetch", self.remote, self.version, check=False)

    def switch(self) -> None:
        version: Optional[str] = self.version
        if version == "HEAD":
            version = self.default_branch()
            if version is None:
                return
        assert version is not None
        if self.is_remote_branch(version):
            known = (
                self.here("rev-parse", "--verify", "-q", "refs/heads/" + version, check=False).returncode == 0
            )
            upstream = "%s/%s" % (self.remote, version)
            if known:
                self.here("checkout", "--force", version)
            else:
                self.here("checkout", "--track", "-b", version, upstream)
            self.here("reset", "--hard", upstream)
        else:
            self.here("checkout", "--force", version)
        if self.wanted["verify_commit"]:
            tag = self.here("tag", "-l", version).stdout.strip()
            self.here("verify-tag" if tag else "verify-commit", version)

    def update_submodules(self) -> None:
        self.here("submodule", "sync", "--recursive", check=False)
        words = ["submodule", "update", "--init", "--recursive"]
        words += ["--remote"] if self.wanted["track_submodules"] else []
        words += ["--force"] if self.wanted["force"] else []
        self.here(*words)


def look(**wanted: Any) -> Found:
    """{"error", "values"} when git failed, else what `_look` returns."""
    return _guarded(_look, wanted)


def bring(**wanted: Any) -> Found:
    """{"error", "values"} when git failed, else what `_bring` returns."""
    return _guarded(_bring, wanted)


def _guarded(work: Callable[..., Found], wanted: Found) -> Found:
    try:
        return work(**wanted)
    except Failed as error:
        return {"error": error.args[0], "values": error.args[1]}


def _look(**wanted: Any) -> Found:
    """{"there", "before", "modified", "url_changed", "head": what `version` is on the remote or None, "submodules":
    those that are not as they should be}. Nothing is changed."""
    one = Repository(wanted)
    if not one.is_there():
        head = one.remote_head(one.repo, None) if wanted["ask"] else None
        return {
            "there": False,
            "before": None,
            "modified": False,
            "url_changed": False,
            "head": head,
            "submodules": [],
        }
    answer: Found = {
        "there": True,
        "before": one.head(),
        "modified": False,
        "url_changed": False,
        "head": None,
    }
    answer["submodules"] = []
    if not wanted["update"]:
        return answer
    answer["modified"] = one.modified()
    url = one.url()
    answer["url_changed"] = bool(url) and url != one.repo and url != wanted["repo"]
    answer["submodules"] = one.submodules()
    answer["head"] = one.remote_head(one.repo, one.dest)
    if answer["head"] is None and re.match(r"[0-9a-f]{4,}$", one.version):
        before = answer["before"] or ""
        answer["head"] = before if before.startswith(one.version) else None
    if one.version != "HEAD" and not wanted["bare"] and answer["head"] == answer["before"]:
        branch = one.here("symbolic-ref", "-q", "--short", "HEAD", check=False).stdout.strip()
        if one.is_remote_branch(one.version) and branch != one.version:
            answer["branch"] = branch
    return answer


def _bring(**wanted: Any) -> Found:
    """Clone or update, and check out: {"before", "after", "submodules_changed"}."""
    one = Repository(wanted)
    before = one.head() if one.is_there() else None
    if before is None and not one.is_there():
        one.clone()
    else:
        if one.modified():
            one.here("reset", "--hard", "HEAD")
        if one.url() != one.repo:
            if one.url():
                one.here("remote", "set-url", one.remote, one.repo)
            else:
                one.here("remote", "add", one.remote, one.repo)
        one.fetch()
    submodules = False
    if not wanted["bare"]:
        one.switch()
        if wanted["recursive"] and os.path.exists(os.path.join(one.dest, ".gitmodules")):
            old = one.here("submodule", "status", "--recursive", check=False).stdout
            one.update_submodules()
            submodules = one.here("submodule", "status", "--recursive", check=False).stdout != old
    return {"before": before, "after": one.head(), "submodules_changed": submodules}


def archive(path: str, prefix: Optional[str], apply: bool, **wanted: Any) -> bool:
    """Whether the archive of `version` at `path` differs; with `apply` it is made."""
    one = Repository(wanted)
    kinds = {".zip": "zip", ".gz": "tar.gz", ".tgz": "tgz", ".tar": "tar"}
    kind = kinds.get(os.path.splitext(path)[1])
    if kind is None:
        raise OSError(errno.EINVAL, "not a format git archives in (zip, tar, tar.gz, tgz)", path)
    words = ["archive", "--format=" + kind, *(["--prefix=" + prefix] if prefix else [])]
    trial = path + ".labctl"
    try:
        one.here(*words, "--output=" + trial, one.version if one.version != "HEAD" else "HEAD")
        with open(trial, "rb") as stream:
            new = stream.read()
        old = None
        if os.path.exists(path):
            with open(path, "rb") as stream:
                old = stream.read()
        if new == old:
            return False
        if apply:
            os.replace(trial, path)
        return True
    finally:
        if os.path.exists(trial):
            os.unlink(trial)
