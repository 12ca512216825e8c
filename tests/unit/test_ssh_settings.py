"""Settings from an inventory's variables, and what of them may be shown."""

import getpass

import pytest

from labctl.errors import UsageError
from labctl.ssh import Become, ConnectionSettings


def settings(**variables):
    return ConnectionSettings.from_variables("web1", variables)


def test_defaults():
    made = settings()
    assert (made.host, made.address, made.port, made.user) == ("web1", "web1", 22, getpass.getuser())
    assert (made.connection, made.host_key_checking, made.key_files) == ("ssh", "strict", ())
    assert made.python is None


def test_ansible_names():
    made = settings(
        ansible_host="10.0.0.5",
        ansible_port="2222",
        ansible_user="deploy",
        ansible_password="secret",
        ansible_ssh_private_key_file="/keys/id",
        ansible_python_interpreter="/usr/bin/python3.12",
        ansible_timeout=3,
        labctl_known_hosts="/lab/known_hosts",
        ansible_host_key_checking="accept-new",
    )
    assert (made.address, made.port, made.user, made.password) == ("10.0.0.5", 2222, "deploy", "secret")
    assert (made.key_files, made.python) == (("/keys/id",), "/usr/bin/python3.12")
    assert (made.known_hosts, made.host_key_checking) == ("/lab/known_hosts", "accept-new")
    assert made.connect_timeout == 3.0


def test_old_names_and_vagrant_style_options():
    made = settings(
        ansible_ssh_host="h",
        ansible_ssh_port=22,
        ansible_ssh_user="vagrant",
        ansible_ssh_common_args="-o StrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -4",
    )
    assert (made.address, made.user, made.host_key_checking) == ("h", "vagrant", "off")
    assert made.known_hosts == "/dev/null"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(True, "strict"), (False, "off"), ("no", "off"), ("accept-new", "accept-new"), (None, "strict")],
)
def test_host_key_checking(given, expected):
    assert settings(ansible_host_key_checking=given).host_key_checking == expected


def test_localhost_is_local():
    assert ConnectionSettings.from_variables("localhost", {}).connection == "local"
    assert ConnectionSettings.from_variables("localhost", {"ansible_connection": "ssh"}).connection == "ssh"
    assert settings(ansible_connection="local").connection == "local"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ansible_port", "ssh"),
        ("ansible_port", 70000),
        ("ansible_timeout", -1),
        ("ansible_connection", "winrm"),
        ("ansible_host_key_checking", "accept_new"),
    ],
)
def test_nonsense_names_host_and_variable(name, value):
    with pytest.raises(UsageError) as info:
        settings(**{name: value})
    assert "web1" in str(info.value)
    assert name.removeprefix("ansible_").split("_")[0] in str(info.value)


def test_the_nearest_name_is_offered():
    with pytest.raises(UsageError) as info:
        settings(ansible_host_key_checking="accept_new")
    assert info.value.hint == "did you mean 'accept-new'?"


def test_passwords_are_not_shown():
    assert "hunter2" not in repr(settings(ansible_password="hunter2"))
    assert "hunter2" not in repr(Become(password="hunter2"))
