"""Password hashes (expected values: those of crypt(3)), and kept passwords."""

from __future__ import annotations

import re
import stat

import pytest

from labctl.errors import VariableError
from labctl.variables import Scope, Templar
from labctl.yaml import Text

TEMPLAR = Templar()


def value(expression, **variables):
    return Scope(TEMPLAR, [variables]).render(Text("{{ " + expression + " }}"))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            "password_hash('sha512', 'saltsalt', rounds=5000)",
            "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/",
        ),
        ("password_hash('md5', 'salt')", "$1$salt$ez2vlPGdaLYkJam5pWs/Y1"),
    ],
)
def test_the_same_salt_gives_the_same_hash(call, expected):
    secret = "password" if "sha512" in call else "secret"
    assert value(f"'{secret}' | {call}") == expected


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        ("password_hash", r"\$6\$rounds=656000\$[./0-9A-Za-z]{16}\$.{86}"),
        ("password_hash('sha256', salt_size=8, rounds=1000)", r"\$5\$rounds=1000\$[./0-9A-Za-z]{8}\$.{43}"),
        ("password_hash('bcrypt', rounds=4)", r"\$2b\$04\$.{53}"),
        ("password_hash('blowfish', 'a' * 22, rounds=4, ident='2y')", r"\$2y\$04\$a{21}O.{31}"),
    ],
)
def test_schemes_and_costs(call, shape):
    assert re.fullmatch(shape, value(f"'secret' | {call}"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("'x' | password_hash('sha51')", "no scheme 'sha51'"),
        ("'x' | password_hash('sha512', 'a b')", "salt"),
        ("'x' | password_hash('sha512', 'a' * 17)", "at most 16"),
        ("'x' | password_hash('bcrypt', 'short')", "is 22"),
        ("'x' | password_hash('bcrypt', ident='9')", "ident"),
        ("[1] | password_hash", "needs a string"),
        ("'x' | password_hash(salt_size=99)", "salt_size"),
    ],
)
def test_misuse(call, said):
    with pytest.raises(VariableError, match=said):
        value(call)


class TestKept:
    def test_a_password_is_made_once_and_private(self, tmp_path):
        here = {"playbook_dir": str(tmp_path)}
        made = value("lookup('password', 'credentials/db length=12 chars=digits')", **here)
        kept = tmp_path / "credentials" / "db"
        assert re.fullmatch(r"\d{12}", made)
        assert kept.read_text() == made + "\n"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
        assert value("lookup('password', 'credentials/db', length=30)", **here) == made

    def test_an_encrypted_one_keeps_its_salt(self, tmp_path):
        here = {"playbook_dir": str(tmp_path)}
        call = "lookup('password', 'pw', encrypt='md5_crypt', seed='s')"
        assert value(call, **here) == value(call, **here)
        assert re.fullmatch(r".{20} salt=.{8}\n", (tmp_path / "pw").read_text())
        assert value("lookup('password', 'pw')", **here) == (tmp_path / "pw").read_text().split(" salt=")[0]

    def test_nothing_is_kept_in_dev_null(self):
        one, two = (value("lookup('password', '/dev/null')") for _ in range(2))
        assert one != two
        assert len(one) == len(two) == 20

    @pytest.mark.parametrize("options", ["length=x", 'chars="\'"', "none=1"])
    def test_misuse(self, tmp_path, options):
        with pytest.raises(VariableError, match="lookup 'password'"):
            value("lookup('password', 'pw ' ~ options)", options=options, playbook_dir=str(tmp_path))
