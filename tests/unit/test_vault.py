"""Ansible Vault: the format, the passwords, what is opened how often, and what is not shown."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from labctl import vault, yaml
from labctl.cli.main import main
from labctl.errors import Mark, UsageError, VaultError
from labctl.events import Event, Kind
from labctl.vault import Flow, Keyring, Masks, Password, cipher, encrypt, passwords

# Made by ansible-vault 2.19 with the password "pw1".
ORACLE = """\
$ANSIBLE_VAULT;1.1;AES256
34393136316236663430383562396439346531306231323236366661623233336362656133366530
6666393939633334333731633834383331343465373363610a326330643433663931353731386636
34656331323434623933303965303934373137623936353938386364383962623364633934333737
6635623562386666610a333261336461643164396362636561323335623164393438396435393432
6566
"""


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts without passwords, and leaves none."""
    monkeypatch.setattr("labctl.vault.keyring._current", Keyring())
    monkeypatch.setattr("labctl.yaml._vault", None)
    for name in ("ANSIBLE_VAULT_PASSWORD_FILE", "LABCTL_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that PBKDF2 was run for, in order."""
    seen: list[bytes] = []
    derive = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, *rest: object) -> bytes:
        seen.append(password)
        return derive(name, password, *rest)

    monkeypatch.setattr(cipher.hashlib, "pbkdf2_hmac", counted)
    return seen


def ring(*pairs: tuple[str, str]) -> Keyring:
    return Keyring([Password(label, secret.encode()) for label, secret in pairs])


class TestFormat:
    def test_what_another_program_encrypted_is_opened(self) -> None:
        assert ring(("default", "pw1")).decrypt(ORACLE) == b"other"

    @pytest.mark.parametrize(
        "data", [b"", b"x", b"15 bytes, or so", b"sixteen bytes 16", bytes(range(256)) * 40]
    )
    def test_a_round_trip_gives_every_byte_back(self, data: bytes) -> None:
        text = encrypt(data, b"pw")
        assert ring(("default", "pw")).decrypt(text) == data
        assert max(map(len, text.splitlines())) <= 80
        assert text.endswith("\n")

    def test_a_vault_id_makes_it_format_1_2(self) -> None:
        assert encrypt(b"x", b"pw", "prod").startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
        assert encrypt(b"x", b"pw", "default").startswith("$ANSIBLE_VAULT;1.1;AES256\n")
        assert cipher.parse(encrypt(b"x", b"pw", "prod")).label == "prod"

    def test_a_given_salt_makes_it_reproducible(self) -> None:
        assert encrypt(b"x", b"pw", salt=b"salt") == encrypt(b"x", b"pw", salt=b"salt")
        assert encrypt(b"x", b"pw") != encrypt(b"x", b"pw")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("nothing", "not encrypted"),
            ("", "not encrypted"),
            ("$ANSIBLE_VAULT;1.0;AES\n00", "format 1.0"),
            ("$ANSIBLE_VAULT;1.1;ROT13\n00", "ROT13"),
            ("$ANSIBLE_VAULT;1.1;AES256\n3836\n", "damaged"),
            ("$ANSIBLE_VAULT;1.1;AES256\nxyz\n", "damaged"),
            (ORACLE[:-2] + "5\n", "does not open"),
        ],
    )
    def test_what_cannot_be_opened_is_said_with_its_position(self, text: str, said: str) -> None:
        with pytest.raises(VaultError, match=said) as caught:
            ring(("default", "pw1")).decrypt(text, Mark("secrets.yml", 3, 7))
        assert str(caught.value.mark) == "secrets.yml:3:7"
        assert caught.value.exit_code == 8

    def test_a_vault_id_that_would_break_the_header_is_refused(self) -> None:
        for label in ("a;b", "a b", ""):
            with pytest.raises(VaultError):
                encrypt(b"x", b"pw", label)


class TestKeyring:
    def test_each_ciphertext_is_opened_once(self, derivations: list[bytes]) -> None:
        text = encrypt(b"x", b"pw")
        derivations.clear()
        keys = ring(("default", "pw"))
        for _ in range(20):
            assert keys.text(text) == "x"
        assert keys.decrypt("\n".join(f"   {line}" for line in text.splitlines())) == b"x"
        assert derivations == [b"pw"]

    def test_one_that_no_password_opens_is_tried_once(self, derivations: list[bytes]) -> None:
        text = encrypt(b"x", b"other")
        derivations.clear()
        keys = ring(("a", "one"), ("b", "two"))
        for _ in range(5):
            with pytest.raises(VaultError, match="none of the 2 passwords"):
                keys.decrypt(text)
        assert derivations == [b"one", b"two"]

    def test_the_ciphertext_s_own_vault_id_goes_first(self, derivations: list[bytes]) -> None:
        text = encrypt(b"x", b"right", "prod")
        derivations.clear()
        keys = ring(("dev", "wrong"), ("prod", "right"))
        assert keys.open(text)[1].label == "prod"
        assert derivations == [b"right"]

    def test_the_others_are_tried_in_order(self, derivations: list[bytes]) -> None:
        text = encrypt(b"x", b"right", "elsewhere")
        derivations.clear()
        assert ring(("a", "wrong"), ("b", "right"), ("c", "late")).decrypt(text) == b"x"
        assert derivations == [b"wrong", b"right"]

    def test_no_password_at_all_says_how_to_give_one(self) -> None:
        with pytest.raises(VaultError, match="vault id 'prod', and no vault password was given") as caught:
            ring().decrypt(encrypt(b"x", b"pw", "prod"))
        assert "--vault-password-file" in (caught.value.hint or "")

    def test_passwords_do_not_stand_in_their_repr(self) -> None:
        assert "hunter2" not in repr(Password("a", b"hunter2"))


class TestSources:
    def test_a_file_and_a_program(self, tmp_path: Path) -> None:
        plain = tmp_path / "plain"
        plain.write_text("  from file \n\n")
        assert passwords.read(str(plain), None, bytes).secret == b"from file"
        script = tmp_path / "script"
        script.write_text("#!/bin/sh\necho from program\n")
        script.chmod(0o755)
        assert passwords.read(str(script), "me", bytes) == Password("me", b"from program")

    def test_a_client_is_told_the_vault_id(self, tmp_path: Path) -> None:
        script = tmp_path / "keys-client.sh"
        script.write_text('#!/bin/sh\n[ "$2" = unknown ] && exit 2\necho "$1=$2"\n')
        script.chmod(0o755)
        assert passwords.read(str(script), "prod", bytes).secret == b"--vault-id=prod"
        with pytest.raises(UsageError, match="no password for the vault id 'unknown'"):
            passwords.read(str(script), "unknown", bytes)

    def test_what_is_no_source(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        (tmp_path / "fails").write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / "fails").chmod(0o755)
        (tmp_path / "no-script").write_bytes(b"\x00\x01")
        (tmp_path / "no-script").chmod(0o755)
        for name, said in (
            ("none", "there is no"),
            ("", "directory"),
            ("empty", "is empty"),
            ("fails", "ended with 3"),
            ("no-script", "cannot be run"),
        ):
            with pytest.raises(UsageError, match=said):
                passwords.read(str(tmp_path / name), None, bytes)

    def test_labels(self) -> None:
        assert passwords.split("prod@~/file@home") == ("prod", "~/file@home")
        assert passwords.split("file") == (None, "file")
        with pytest.raises(UsageError):
            passwords.split("a;b@file")


class TestMasks:
    def test_a_secret_is_hidden_in_every_form(self) -> None:
        masks = Masks()
        masks.add('p"ss\nsecond line')
        shown = masks.hide(
            {
                'p"ss\nsecond line': 1,
                "list": ['<p"ss\nsecond line>', "second line", ('p\\"ss\\nsecond line',)],
                "base64": "cCJzcwpzZWNvbmQgbGluZQ==",
                "other": "first line",
            }
        )
        assert shown == {
            "********": 1,
            "list": ["<********>", "********", ["********"]],
            "base64": "********",
            "other": "first line",
        }

    def test_a_short_one_stands_in_too_many_words(self) -> None:
        masks = Masks()
        masks.add("no")
        masks.add(None)
        masks.add(True)
        masks.add("false")
        assert masks.hide("now none, True, false") == "now none, True, false"
        assert not masks
        masks.add("inner", open_=True)
        masks.add("inn3r", open_=True)
        assert masks.hide("inner inn3r") == "inner ********"

    def test_an_encrypted_file_s_texts_are_secret_but_its_small_words_are_not(self) -> None:
        masks = Masks()
        masks.add_file(
            yaml.load(
                "{user: admin, port: 80, password: tiny, nested: [a-long-value, '{{ x }} is a template']}"
            )
        )
        assert (
            masks.hide("admin 80 tiny a-long-value x is a template")
            == "admin 80 **** ****".replace("****", "********") + " x is a template"
        )

    def test_what_debug_prints_of_a_vault_is_shown(self) -> None:
        masks = Masks()
        masks.add("from-a-vault", open_=True)
        masks.add("become-password")
        text = "from-a-vault become-password"
        for action, expected in (("debug", "from-a-vault ********"), ("command", "******** ********")):
            event = Event(
                Kind.RESULT, {"action": action, "result": {"msg": text}}, task=text, host="from-a-vault"
            )
            shown = masks.event(event)
            assert shown.data["result"] == {"msg": expected}
            assert shown.task == "******** ********"
            assert shown.host == "from-a-vault"

    @pytest.mark.parametrize("status", ["unknown", "failed"])
    def test_what_debug_says_instead_of_what_it_prints_is_hidden(self, status) -> None:
        masks = Masks()
        masks.add("from-a-vault", open_=True)
        data = {
            "action": "debug",
            "status": status,
            "unknown": "from-a-vault",
            "result": {"msg": "from-a-vault"},
        }
        shown = masks.event(Event(Kind.RESULT, data, host="a"))
        assert (shown.data["unknown"], shown.data["result"]) == ("********", {"msg": "********"})

    def test_what_debug_is_called_is_hidden(self) -> None:
        masks = Masks()
        masks.add("from-a-vault", open_=True)
        data = {"action": "debug", "status": "ok", "label": "from-a-vault", "result": {"msg": "from-a-vault"}}
        shown = masks.event(Event(Kind.ITEM, data, host="a"))
        assert (shown.data["label"], shown.data["result"]) == ("********", {"msg": "from-a-vault"})
        start = masks.event(Event(Kind.TASK_START, {"action": "debug", "name": "with from-a-vault"}))
        assert start.data["name"] == "with ********"

    def test_results_under_no_log_come_back_hidden(self) -> None:
        masks = Masks()
        masks.add_result({"stdout": "s3cret-output", "stderr": "", "rc": 0, "dest": "/etc/some/path"})
        masks.add_result(
            {"results": [{"stdout": "of-a-loop-2", "item": "Ordinary 1"}, None], "stdout": "ordinary"}
        )
        assert (
            masks.hide("s3cret-output of-a-loop-2 ordinary /etc/some/path Ordinary 1")
            == "******** ******** ordinary /etc/some/path Ordinary 1"
        )

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
    def test_output_in_pieces_never_shows_a_secret(self, size: int) -> None:
        masks = Masks()
        masks.add("s3cret-s3cret-word")
        flow, text = Flow(masks), "before s3cret-s3cret-word, s3cret-s3crex and s3cr"
        pieces = [flow.feed(text[at : at + size]) for at in range(0, len(text), size)] + [flow.rest()]
        assert "".join(map(masks.hide, pieces)) == "before ********, s3cret-s3crex and s3cr"


class TestFiles:
    def test_a_wholly_encrypted_file_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "vars.yml"
        path.write_text(encrypt(b"password: hunter2-secret\n", b"pw"))
        with pytest.raises(VaultError, match="encrypted"):
            yaml.load_file(str(path))
        keys = ring(("default", "pw"))
        yaml.open_files_with(keys)
        found = yaml.load_file(str(path))
        assert found == {"password": "hunter2-secret"}
        assert found.value_mark("password").excerpt() == ""
        assert keys.masks.hide("hunter2-secret") == "********"

    def test_read_opens_what_is_encrypted_only(self, tmp_path: Path) -> None:
        vault.use(ring(("default", "pw")))
        (tmp_path / "plain").write_bytes(b"plain\xff")
        (tmp_path / "sealed").write_text(encrypt(b"sealed\xff", b"pw"))
        assert vault.read(tmp_path / "plain") == b"plain\xff"
        assert vault.read(tmp_path / "sealed") == b"sealed\xff"
        assert vault.opened(tmp_path / "plain") is None


class TestCommand:
    @pytest.fixture
    def pw(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        (tmp_path / "pw").write_text("pw1\n")
        (tmp_path / "new").write_text("pw2\n")
        (tmp_path / "f.yml").write_text("a: 1\n")
        monkeypatch.chdir(tmp_path)
        return ["--vault-password-file", "pw"]

    def test_encrypt_keeps_the_mode_and_decrypt_gives_it_back(self, pw: list[str]) -> None:
        os.chmod("f.yml", 0o640)
        assert main(["vault", "encrypt", *pw, "f.yml"]) == 0
        assert Path("f.yml").read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
        assert stat.S_IMODE(os.stat("f.yml").st_mode) == 0o640
        assert main(["vault", "encrypt", *pw, "f.yml"]) == 8
        assert main(["vault", "decrypt", *pw, "--output", "clear", "f.yml"]) == 0
        assert Path("clear").read_text() == "a: 1\n"
        assert stat.S_IMODE(os.stat("clear").st_mode) == 0o600

    def test_a_link_stays_one(self, pw: list[str]) -> None:
        Path("link").symlink_to("f.yml")
        assert main(["vault", "encrypt", *pw, "link"]) == 0
        assert Path("link").is_symlink()
        assert Path("f.yml").read_text().startswith("$ANSIBLE")

    def test_rekey(self, pw: list[str]) -> None:
        main(["vault", "encrypt", *pw, "f.yml"])
        assert main(["vault", "rekey", *pw, "--new-vault-id", "prod@new", "f.yml"]) == 0
        assert Path("f.yml").read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
        assert ring(("x", "pw2")).decrypt(Path("f.yml").read_text()) == b"a: 1\n"
        assert main(["vault", "view", *pw, "f.yml"]) == 8

    def test_edit_and_create_leave_no_clear_text(
        self, pw: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        (tmp_path / "tmp").mkdir()
        main(["vault", "encrypt", *pw, "f.yml"])
        monkeypatch.setenv("EDITOR", "sed -i s/1/2/")
        assert main(["vault", "edit", *pw, "f.yml"]) == 0
        assert ring(("x", "pw1")).decrypt(Path("f.yml").read_text()) == b"a: 2\n"
        before = Path("f.yml").read_bytes()
        monkeypatch.setenv("EDITOR", "true")
        assert main(["vault", "edit", *pw, "f.yml"]) == 0
        assert Path("f.yml").read_bytes() == before, "nothing has changed, so nothing is written"
        monkeypatch.setenv("EDITOR", "false")
        assert main(["vault", "edit", *pw, "f.yml"]) == 5
        monkeypatch.setenv("EDITOR", "cp pw")
        assert main(["vault", "create", *pw, "--skip-tty-check", "sub/new.yml"]) == 0
        assert ring(("x", "pw1")).decrypt(Path("sub/new.yml").read_text()) == b"pw1\n"
        assert stat.S_IMODE(os.stat("sub/new.yml").st_mode) == 0o600
        assert main(["vault", "create", *pw, "--skip-tty-check", "sub/new.yml"]) == 5
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_texts(self, pw: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["vault", "encrypt_string", *pw, "one", "two", "-n", "first"]) == 0
        out = capsys.readouterr().out
        found = yaml.load(out.replace("\n!vault", "\nsecond: !vault"))
        keys = ring(("x", "pw1"))
        assert [keys.text(value) for value in found.values()] == ["one", "two"]
        assert list(found) == ["first", "second"]
        assert found["first"].vault

    def test_which_password_encrypts(self, pw: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        both = ["--vault-id", "a@pw", "--vault-id", "b@new"]
        assert main(["vault", "encrypt", *both, "f.yml"]) == 5
        assert "--encrypt-vault-id" in capsys.readouterr().err
        assert main(["vault", "encrypt", *both, "--encrypt-vault-id", "c", "f.yml"]) == 5
        assert main(["vault", "encrypt", *both, "--encrypt-vault-id", "b", "f.yml"]) == 0
        assert ring(("b", "pw2")).decrypt(Path("f.yml").read_text()) == b"a: 1\n"

    def test_the_environment_names_a_password(self, pw: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "pw")
        assert main(["vault", "encrypt", "f.yml"]) == 0
        monkeypatch.setenv("LABCTL_VAULT_PASSWORD_FILE", "new")
        assert main(["vault", "view", "f.yml"]) == 8

    def test_bad_command_lines(self, pw: list[str]) -> None:
        for words in (
            ["view", "none"],
            ["encrypt", "--output", "x", "f.yml", "pw"],
            ["create"],
            ["create", "a", "b"],
            ["encrypt-string", "-p", "-"],
            ["encrypt-string", ""],
            ["rekey", "--new-vault-id", "none@nowhere", "f.yml"],
        ):
            assert main(["vault", words[0], *pw, *words[1:]]) in (5, 8), words
