"""Connections of type dask: where they lead, what is refused, and whether the Dask scheduler there is met."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import pytest
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from distributed import LocalCluster, Security

import airflow_eks_dask
from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY
from airflow_eks_dask.endpoint import Endpoint, is_loopback, tidy_pem
from airflow_eks_dask.hooks.dask import DaskHook, endpoint_of, version_differences

NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A directory with the certificates of one cluster."""
    directory = tmp_path_factory.mktemp("tls") / "ours"
    authority = certificates.make_authority(NOW)
    leaves = certificates.make_leaves(authority, NOW, names=[certificates.subject_name("127.0.0.1")])
    certificates.write(directory, {AUTHORITY: authority, **leaves})
    return directory


def material(tls):
    return {
        "tls_ca": (tls / "ca.pem").read_text(),
        "tls_cert": (tls / "client.pem").read_text(),
        "tls_key": (tls / "client-key.pem").read_text(),
    }


def connection(host="127.0.0.1", port=None, password=None, extra=None, **extras):
    return Connection(
        conn_id="c",
        conn_type="dask",
        host=host,
        port=port,
        password=password,
        extra=json.dumps(extras) if extra is None else extra,
    )


class TestEndpoint:
    """What settings and connections have in common."""

    def test_a_key_is_not_shown(self):
        assert "secret" not in repr(Endpoint("tls://h:1", tls_key="secret"))

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
    def test_loopback(self, host):
        assert is_loopback(host)

    @pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "localhost.example.com", ""])
    def test_no_loopback(self, host):
        assert not is_loopback(host)

    @pytest.mark.parametrize(
        "address", ["", "host", "http://h:1", "tcp://h", "tcp://:1", "tls://h:65536", "tls://[::1"]
    )
    def test_no_address(self, address):
        (problem, *_) = Endpoint(address, allow_insecure=True).problems()[-1:]
        assert "must look like" in problem

    def test_names_of_the_reader(self):
        (problem,) = Endpoint("tls://h:1", tls_ca="/", tls_cert="x").tls_problems({"tls_key": "password"})[-1:]
        assert problem == "cluster_address = 'tls://h:1' needs password too"

    def test_an_encrypted_key_is_refused_for_openssl_would_ask_the_terminal(self, tls, tmp_path):
        key = certificates.make_authority(NOW).key
        encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        file = tmp_path / "key.pem"
        file.write_bytes(encrypted)
        for value in (encrypted.decode(), str(file)):
            problems = Endpoint("tls://h:1", **{**material(tls), "tls_key": value}).problems()
            assert problems == ["tls_key: the key is encrypted; give one without a passphrase"]

    def test_half_of_a_text_is_refused(self, tls):
        whole = material(tls)["tls_cert"]
        for cut in (whole[:200], whole + whole[:200]):
            problems = Endpoint("tls://h:1", **{**material(tls), "tls_cert": cut}).problems()
            assert problems == ["tls_cert: PEM text without its end"]

    @pytest.mark.parametrize("value", ["MIGHAgEAMBMGByqGSM49", "x" * 10_000, "a\0b"])
    def test_what_stands_in_for_a_key_is_not_repeated(self, tls, value):
        problems = Endpoint("tls://h:1", **{**material(tls), "tls_key": value}).problems()
        assert problems == ["tls_key: neither PEM text nor a file"]

    def test_the_path_of_a_missing_key_is_told(self, tls):
        problems = Endpoint("tls://h:1", **{**material(tls), "tls_key": "/no/such/file"}).problems()
        assert problems == ["tls_key = '/no/such/file': no such file"]

    def test_a_key_that_cannot_be_read(self, tls):
        # Readable by nobody, root included.
        problems = Endpoint("tls://h:1", **{**material(tls), "tls_key": "/proc/self/mem"}).problems()
        assert problems == ["tls_key = '/proc/self/mem': cannot be read: Input/output error"]

    @pytest.mark.parametrize("lost", [" ", "", "\\n", "\r\n"])
    def test_line_ends_that_a_form_has_lost(self, tls, lost):
        for text in (*material(tls).values(), (tls / "client.pem").read_text() + (tls / "ca.pem").read_text()):
            assert tidy_pem(text.replace("\n", lost)) == text

    @pytest.mark.parametrize("lost", ["\n", " ", ""])
    def test_texts_make_a_tls_context(self, tls, lost):
        texts = {name: text.replace("\n", lost) for name, text in material(tls).items()}
        security = Endpoint("tls://h:1", **texts).security()
        assert security.require_encryption
        assert security.get_connection_args("client")["ssl_context"].get_ca_certs()


class TestConnections:
    """What is made of an Airflow connection."""

    def test_without_tls(self):
        assert endpoint_of(connection()) == Endpoint("tcp://127.0.0.1:8786")
        assert endpoint_of(connection(port=1)).security() is None

    def test_ipv6(self):
        assert endpoint_of(connection("::1")).address == "tcp://[::1]:8786"
        assert endpoint_of(connection("[::1]")).address == "tcp://[::1]:8786"

    def test_with_tls(self, tls):
        texts = material(tls)
        endpoint = endpoint_of(
            connection("dask.example.com", 8787, texts["tls_key"], tls_ca=texts["tls_ca"], tls_cert=texts["tls_cert"])
        )
        assert endpoint.address == "tls://dask.example.com:8787"
        assert endpoint.security().tls_client_key == texts["tls_key"]

    def test_with_files(self, tls):
        files = {"tls_ca": str(tls / "ca.pem"), "tls_cert": str(tls / "client.pem")}
        endpoint = endpoint_of(connection("h", password=str(tls / "client-key.pem"), **files))
        assert endpoint.security().tls_ca_file == str(tls / "ca.pem")

    def test_by_its_uri_as_airflow_tests_it(self, tls):
        texts = material(tls)
        written = connection("h", None, texts["tls_key"], tls_ca=texts["tls_ca"], tls_cert=texts["tls_cert"])
        assert endpoint_of(Connection(conn_id="c", uri=written.get_uri())) == endpoint_of(written)

    @pytest.mark.parametrize("insecure", [True, "true", "True"])
    def test_beyond_this_machine_tls_is_required(self, insecure):
        assert endpoint_of(connection("10.0.0.1", allow_insecure=insecure)).address == "tcp://10.0.0.1:8786"
        for refused in ({}, {"allow_insecure": False}, {"allow_insecure": None}):
            with pytest.raises(ValueError, match=r"without TLS.*extra\.tls_cert and password.*extra\.allow_insecure"):
                endpoint_of(connection("10.0.0.1", **refused))

    def test_what_a_form_leaves_empty_is_nothing(self):
        endpoint = endpoint_of(connection(password="", tls_ca=None, tls_cert="", allow_insecure=False))
        assert endpoint == Endpoint("tcp://127.0.0.1:8786")

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"host": None}, "host is empty"),
            ({"host": "tcp://127.0.0.1"}, "host = 'tcp://127.0.0.1': must be a name or an IP address alone"),
            ({"port": 70_000}, "must look like"),
            ({"allow_insecure": "perhaps"}, "extra.allow_insecure = 'perhaps': must be true or false"),
            ({"tls_cafile": "x"}, "extra.tls_cafile: not known"),
            ({"extra": "{"}, "extra is not JSON"),
            ({"extra": "[1]"}, "extra is not a JSON object"),
            ({"tls_ca": "/no/such/file"}, "extra.tls_ca = '/no/such/file': no such file"),
        ],
    )
    def test_what_cannot_work_is_refused(self, fields, words):
        with pytest.raises(ValueError, match=re.escape(words)) as refusal:
            endpoint_of(connection(**fields))
        assert str(refusal.value).startswith("Connection 'c': ")

    def test_all_problems_are_told_at_once_and_the_key_never(self):
        with pytest.raises(ValueError, match="Connection 'c'") as refusal:
            endpoint_of(connection("", password="hunter2", tls_ca="/no/such/file", allow_insecure="x", other=1))
        told = str(refusal.value)
        for field in ("host", "extra.tls_ca =", "extra.tls_cert", "password", "extra.allow_insecure", "extra.other"):
            assert field in told
        assert "hunter2" not in told


def test_versions_that_do_not_go_together_are_told():
    here = {"python": "3.11.7.final.0", "dask": "2026.8.0", "distributed": "2026.8.0"}
    assert version_differences(here, here | {"python": "3.11.2.final.0", "numpy": "1"}) == []
    assert version_differences(here, here | {"python": "3.12.1.final.0", "distributed": None}) == [
        "python 3.11 here, 3.12 there",
        "distributed 2026.8.0 here, none there",
    ]


class TestHook:
    """A task's way to a Dask cluster."""

    @pytest.fixture(scope="class")
    def cluster(self, tls):
        security = Security(
            tls_ca_file=str(tls / "ca.pem"),
            tls_scheduler_cert=str(tls / "scheduler.pem"),
            tls_scheduler_key=str(tls / "scheduler-key.pem"),
            tls_worker_cert=str(tls / "worker.pem"),
            tls_worker_key=str(tls / "worker-key.pem"),
            tls_client_cert=str(tls / "client.pem"),
            tls_client_key=str(tls / "client-key.pem"),
            require_encryption=True,
        )
        with LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, security=security, dashboard_address=None
        ) as cluster:
            yield cluster

    @pytest.fixture
    def define(self, monkeypatch):
        def define(**fields):
            monkeypatch.setenv("AIRFLOW_CONN_DASK_DEFAULT", json.dumps({"conn_type": "dask", **fields}))

        return define

    @pytest.fixture
    def defined(self, cluster, tls, define):
        host, port = cluster.scheduler_address.removeprefix("tls://").rsplit(":", 1)
        texts = material(tls)
        fields = {"host": host, "port": int(port), "password": texts.pop("tls_key"), "extra": texts}
        define(**fields)
        return fields

    def test_it_computes(self, defined):
        hook = DaskHook()
        assert hook.address == f"tls://{defined['host']}:{defined['port']}"
        assert hook.security().require_encryption
        with hook.get_conn() as client:
            assert client.submit(sum, [1, 2, 3]).result(timeout=30) == 6

    def test_the_connection_is_tested(self, defined):
        ok, message = DaskHook().test_connection()
        assert ok, message
        assert message.startswith(f"Connected to tls://{defined['host']}:{defined['port']}, distributed 20")

    def test_a_certificate_of_another_authority(self, defined, define, tmp_path):
        authority = certificates.make_authority(NOW)
        certificates.write(
            tmp_path / "theirs",
            {AUTHORITY: authority, **certificates.make_leaves(authority, NOW, names=[])},
        )
        texts = material(tmp_path / "theirs")
        define(**{**defined, "password": texts.pop("tls_key"), "extra": texts})
        ok, message = DaskHook(timeout=2).test_connection()
        assert not ok
        assert "certificate" in message.lower()

    def test_nobody_there(self, define):
        define(host="127.0.0.1", port=1)
        ok, message = DaskHook(timeout=0.5).test_connection()
        assert not ok
        assert message.startswith("No connection to the Dask scheduler at tcp://127.0.0.1:1: ")
        # A machine with much to do may not get as far as to be refused.
        assert "refused" in message or "Timed out" in message
        assert "object at" not in message

    def test_half_filled_in(self, define):
        define(host="127.0.0.1", password="hunter2")
        ok, message = DaskHook().test_connection()
        assert not ok
        assert "extra.tls_ca" in message
        assert "hunter2" not in message

    def test_no_such_connection(self):
        with pytest.raises(AirflowNotFoundException):
            _ = DaskHook("no_such_connection").address

    def test_airflow_finds_it_by_its_type(self):
        (described,) = airflow_eks_dask.get_provider_info()["connection-types"]
        assert described["hook-class-name"] == f"{DaskHook.__module__}.{DaskHook.__qualname__}"
        assert (described["connection-type"], described["hook-name"]) == (DaskHook.conn_type, DaskHook.hook_name)
        hook = Connection(conn_id="c", conn_type="dask").get_hook()
        assert isinstance(hook, DaskHook)
        assert hook.dask_conn_id == "c"
